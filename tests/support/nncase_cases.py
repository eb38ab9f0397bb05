"""Small networks for nncase, and how its tests convert and measure them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, Placement
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ModelSpec
from torch import Tensor, nn

SPEC = replace(model_entry("vgg_kpu").spec, input_size=(32, 40), classes=("a",))


COLORS = replace(SPEC, mean=(123.7, 16.3, 203.5), std=(58.4, 27.1, 99.4))


def make_images(count: int, seed: int, spec: ModelSpec = SPEC) -> np.ndarray:
    """Patches of 4x4 pixels: noise alone would drown in any network's mean."""
    rng = np.random.default_rng(seed)
    height, width = spec.input_size
    patches = rng.integers(0, 256, (count, spec.in_channels, height // 4, width // 4))
    return patches.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


def convert(
    model: nn.Module, folder: Path, spec: ModelSpec = SPEC
) -> tuple[Artifact, Placement, Graph]:
    (folder / "graph").mkdir()
    graph = Graph(model, spec, folder / "graph")
    target, images = find_target("k210-nncase"), make_images(8, 1, spec)
    job = Conversion(graph, "int8", folder, folder / "log.txt", images)
    artifact = target.convert(job)
    placement = target.placement(artifact)
    assert placement is not None
    return artifact, placement, graph


def sqnr_db(artifact: Artifact, graph: Graph, name: str = "k210-nncase") -> float:
    images = make_images(8, 2, graph.spec)
    result = find_target(name).run(artifact, images, artifact.folder / "log.txt")
    return compare(graph.reference(images), result.outputs).sqnr_db


def set_batch_norm(model: nn.Module, images: np.ndarray) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one pass sets the statistics
    with torch.no_grad():
        model.train()(torch.from_numpy(images).float() / 255)
    model.eval()


class TwoHeads(nn.Module):
    """A sum of two tensors, and two outputs, the later one first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 6, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        x = (self.body(x) + x).relu()
        return self.deep(x), x


class Between(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 3, padding=1)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.middle(self.first(x)))


class Subsampled(nn.Module):
    """Strides of 2, dense and depthwise, a pool, and three kinds of activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, 2, 1, groups=8)
        self.point, self.body = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.depthwise(nn.functional.silu(self.stem(x))))
        x = nn.functional.leaky_relu(self.body(self.point(x)), 0.1)
        return self.head(nn.functional.max_pool2d(x, 2))
