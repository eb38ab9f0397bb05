"""Sums, differences, quotients and choices with constants, on either side and along any axis.

Converters fuse them with the layer in front, and have taken a row for a bias or the constant for
the map.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.graph.network import Network
from edgeark.export.lint import capture_network, check
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion, Precision, Target
from support.settled import SPEC, make_images
from support.target_base import installed_target
from torch import Tensor, nn

CHANNELS = 20
Parameter = Callable[..., Tensor]
Form = Callable[[Tensor, Parameter], Tensor]

# Behind a layer with 20 channels, of 12x20 pixels: a row, a column and a bias, each of 20 values.
FORMS: dict[str, Form] = {
    "a row": lambda x, p: x + p(1, 1, 1, 20),
    "a row, short": lambda x, p: x + p(20),
    "a row first": lambda x, p: p(1, 1, 1, 20) + x,
    "a column": lambda x, p: x.transpose(2, 3) + p(1, 1, 20, 1),
    "a row behind ReLU": lambda x, p: x.relu() + p(1, 1, 1, 20),
    "computed of constants": lambda x, p: x + 2 * p(1, 1, 1, 20).sigmoid(),
    "minus a row": lambda x, p: x - p(1, 1, 1, 20),
    "a row minus": lambda x, p: p(1, 1, 1, 20) - x,
    "a bias": lambda x, p: x + p(1, 20, 1, 1),
    "a bias, short": lambda x, p: x + p(20, 1, 1),
    "a bias minus": lambda x, p: p(1, 20, 1, 1) - x,
    "tokens": lambda x, p: x.flatten(2)[:, :, :20].transpose(1, 2) + p(1, 20, 1),
    "one minus": lambda x, p: 1 - x,
    "one minus ReLU": lambda x, p: 1 - x.relu(),
    "one minus a sigmoid": lambda x, p: 1 - x.sigmoid(),
    "reversed, scaled": lambda x, p: torch.rsub(x, p(20), alpha=2),
    "a row by": lambda x, p: p(20) / (x.sigmoid() + 1),
    "one by": lambda x, p: 1 / (x.sigmoid() + 1),
    "by a row": lambda x, p: x / (p(20).abs() + 1),
    "a choice": lambda x, p: torch.where(x > 0.1, x, p(1, 20, 1, 1)),
    "a choice of the mean": lambda x, p: torch.where(x > 0.1, x, x.mean(1, keepdim=True)),
    "a choice of tokens": lambda x, p: torch.where(x.flatten(2) > 0.1, p(20, 1), x.flatten(2)),
}


class Forms(nn.Module):
    """Each form as an output of its own."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.names = names
        self.first = nn.Conv2d(3, CHANNELS, 3, 2, 1)
        self.operand = nn.Parameter(torch.randn(20))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.first(x)
        return tuple(FORMS[name](x, lambda *shape: self.operand.view(shape)) for name in self.names)


_FLOAT32 = [
    *("onnxruntime", "opencv", "opencv5", "mnn", "ncnn", "openvino"),
    *("litert", "litert-nchw", "executorch"),
]
CASES: list[tuple[str, Precision, int]] = [
    *((name, "float32", 90) for name in _FLOAT32),
    ("mnn", "float16", 35),
    ("rknn:rk3588", "float16", 35),
    ("onnxruntime", "int8", 15),
    ("openvino", "int8", 15),
]


@pytest.mark.parametrize(("name", "precision", "enough"), CASES)
def test_constants_are_operands_as_in_pytorch(
    name: str, precision: Precision, enough: int, tmp_path: Path
) -> None:
    target = installed_target(name)
    fits = [form for form in FORMS if not _errors(form, target)]
    assert len(fits) >= len(FORMS) - 3
    graph = Graph(Forms(fits), SPEC, tmp_path)
    shape = SPEC.input_shape[1:]
    calibration = make_images(16, shape, seed=1) if precision == "int8" else None
    job = Conversion(graph, precision, tmp_path, tmp_path / "log.txt", calibration)
    images = make_images(2, shape, seed=0)
    result = target.run(target.convert(job), images, tmp_path / "log.txt")
    assert result is not None
    pairs = zip(graph.reference(images), result.outputs, strict=True)
    found = {form: compare([w], [g]).sqnr_db for form, (w, g) in zip(fits, pairs, strict=True)}
    assert {form: db for form, db in found.items() if db < enough} == {}


def _errors(form: str, target: Target) -> list[str]:
    found = check(_network(form), target.rules(), target.full_name)
    return [finding.rule for finding in found if finding.severity == "error"]


@functools.cache
def _network(form: str) -> Network:
    return capture_network(Forms([form]), SPEC.input_shape)
