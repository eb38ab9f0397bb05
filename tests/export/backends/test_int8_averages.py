"""int8 averages of maps that are padded and have values below zero: 0 is not their zero point."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from support.settled import SPEC, make_images
from support.target_base import installed_target
from torch import Tensor, nn
from torch.nn import functional as f


class Averages(nn.Module):
    """A layer's own padding and one in front of it; ``also``: maps of one and of three axes."""

    def __init__(self, also: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.also = also
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        self.heads = nn.ModuleList(nn.Conv2d(16, 8, 1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.first(x)
        maps = (
            f.avg_pool2d(x, 3, 2, 1),
            f.avg_pool2d(x, 3, 1, 1),
            f.avg_pool2d(f.pad(x, [1] * 4), 2),
        )
        answers = tuple(head(each) for head, each in zip(self.heads, maps, strict=True))
        if not self.also:
            return answers
        line, volume = f.avg_pool1d(x.flatten(2), 3, 1, 1), f.avg_pool3d(x[:, None], 3, 1, 1)
        return (*answers, line, volume)


@pytest.mark.parametrize(
    "name", ["openvino", "onnxruntime", "mnn", "litert", "executorch", "rknn:rv1106"]
)
def test_padded_averages_of_negative_values(name: str, tmp_path: Path) -> None:
    target = installed_target(name)
    graph = Graph(Averages(also=name == "openvino"), SPEC, tmp_path)
    shape = SPEC.input_shape[1:]
    calibration = make_images(16, shape, seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", calibration)
    images = make_images(4, shape, seed=0)
    result = target.run(target.convert(job), images, tmp_path / "log.txt")
    assert result is not None
    assert compare(graph.reference(images), result.outputs).sqnr_db > 20
