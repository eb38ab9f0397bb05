"""Operands that MNN would broadcast along another axis than PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion, Precision
from support.settled import SPEC, make_images
from support.target_base import installed_target
from torch import Tensor, nn

CHANNELS = 20
Forward = Callable[[Tensor, Callable[..., Tensor]], Tensor]

# Behind a layer with 20 channels, of 12x20 pixels: a row, a column and a bias, each of 20 values.
FORMS: dict[str, Forward] = {
    "a row": lambda x, p: x + p(1, 1, 1, 20),
    "a row, short": lambda x, p: x + p(20),
    "a row first": lambda x, p: p(1, 1, 1, 20) + x,
    "a column": lambda x, p: x.transpose(2, 3) + p(1, 1, 20, 1),
    "behind ReLU": lambda x, p: x.relu() + p(1, 1, 1, 20),
    "computed of constants": lambda x, p: x + 2 * p(1, 1, 1, 20).sigmoid(),
    "subtracted": lambda x, p: x - p(1, 1, 1, 20),
    "a bias": lambda x, p: x + p(1, 20, 1, 1),
    "a bias, short": lambda x, p: x + p(20, 1, 1),
    "tokens": lambda x, p: x.flatten(2)[:, :, :20].transpose(1, 2) + p(1, 20, 1),
    "a choice": lambda x, p: torch.where(x > 0.1, x, p(1, 20, 1, 1)),
    "a choice of the mean": lambda x, p: torch.where(x > 0.1, x, x.mean(1, keepdim=True)),
    "a choice of tokens": lambda x, p: torch.where(x.flatten(2) > 0.1, p(20, 1), x.flatten(2)),
}


class Forms(nn.Module):
    """Every form as an output of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, CHANNELS, 3, 2, 1)
        self.operand = nn.Parameter(torch.randn(20))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.first(x)
        return tuple(form(x, lambda *shape: self.operand.view(shape)) for form in FORMS.values())


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_sums_and_choices_answer_as_pytorch(precision: Precision, tmp_path: Path) -> None:
    target = installed_target("mnn")
    graph = Graph(Forms(), SPEC, tmp_path)
    artifact = target.convert(Conversion(graph, precision, tmp_path, tmp_path / "log.txt", None))
    images = make_images(2, SPEC.input_shape[1:], seed=0)
    result = target.run(artifact, images, tmp_path / "log.txt")
    assert result is not None
    pairs = zip(graph.reference(images), result.outputs, strict=True)
    decibels = [compare([wanted], [got]).sqnr_db for wanted, got in pairs]
    found = dict(zip(FORMS, decibels, strict=True))
    enough = 100 if precision == "float32" else 35
    assert {name: db for name, db in found.items() if db < enough} == {}
