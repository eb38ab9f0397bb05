"""What converters have misread without a word, on every engine: constants, pools and padding.

They fuse sums and quotients with the layer in front, and have taken a row for a bias or a
constant for the map; keep a last window of ``ceil_mode`` that PyTorch leaves out; and pad int8
maps with 0, which is not the number that stands for zero there. Exponentials do not fit int8.
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
from torch.nn import functional as f

CHANNELS = 20
Parameter = Callable[..., Tensor]
Form = Callable[[Tensor, Parameter], Tensor]

# Behind a layer with 20 channels, of 12x20 pixels: a row, a column and a bias, each of 20 values.
CONSTANTS: dict[str, Form] = {
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


# Of the 20 columns the last window is left out; of the 12 rows it fits, or counts.
POOLS: dict[str, Form] = {
    "windows that fit": lambda x, p: f.max_pool2d(x, 2, 2, ceil_mode=True),
    "a window left out": lambda x, p: f.max_pool2d(x, (2, 3), (2, 3), (0, 1), ceil_mode=True),
    "one left out, one counts": lambda x, p: f.max_pool2d(x, 3, 3, 1, ceil_mode=True),
    "a mean left out": lambda x, p: f.avg_pool2d(x, (2, 3), (2, 3), (0, 1), ceil_mode=True),
}
AVERAGES: dict[str, Form] = {
    "padded": lambda x, p: f.avg_pool2d(x, 3, 2, 1),
    "padded, of stride 1": lambda x, p: f.avg_pool2d(x, 3, 1, 1),
    "padded before": lambda x, p: f.avg_pool2d(f.pad(x, [1] * 4), 2),
}
DEEP: dict[str, Form] = {
    "padded rows": lambda x, p: f.avg_pool1d(x.flatten(2), 3, 1, 1),
    "padded volumes": lambda x, p: f.avg_pool3d(x[:, None], 3, 1, 1)[:, 0],
}
# By logarithms, which negative numbers have none of.
POWERS: dict[str, Form] = {
    "a square": lambda x, p: x**2,
    "a cube": lambda x, p: x**3,
    "a fifth power": lambda x, p: x.pow(5),
    "one by a cube": lambda x, p: (x.abs() * -1 - 1) ** -3,
    "half a power": lambda x, p: torch.pow(x.abs() + 0.1, 1.5),
}
PARTS: dict[str, Form] = {
    "the first of three": lambda x, p: x.chunk(3, 1)[0],
    "the last of three": lambda x, p: x.chunk(3, 1)[2],
    "the last of three rows": lambda x, p: x.transpose(1, 3).chunk(3, 1)[2],
    "once around": lambda x, p: x[:, :1].roll(1, 1),
    "turned": lambda x, p: x.roll((1, 3), (2, 3)),
    "a mean of matrices": lambda x, p: f.adaptive_avg_pool2d(x.flatten(2), (5, 24)),
}
TURNED: dict[str, Form] = {
    "volumes turned": lambda x, p: x.unflatten(1, (4, 5)).flip(1).flatten(1, 2),
    "volumes turned twice": lambda x, p: x.unsqueeze(2).flip(2, 4).squeeze(2),
}
VOLUMES: dict[str, Form] = {
    f"{channels} channels in {groups} groups": lambda x, p, n=channels, g=groups: f.conv3d(
        x[:, :16].unflatten(1, (n, -1)), _kernel(p, n, g), None, 1, (0, 1, 1), 1, g
    ).flatten(1, 2)
    for channels, groups in ((2, 2), (4, 2), (8, 8))
}
SPOILED: dict[str, Form] = {
    "a written sigmoid": lambda x, p: 1 / (1 + torch.exp(-5 * x)),
    "a written SiLU": lambda x, p: x / (1 + torch.exp(-5 * x)),
    "a written softplus": lambda x, p: torch.log(1 + torch.exp(5 * x)),
    "a matrix first": lambda x, p: (p(1, 20) + p(20, 1)) @ x.flatten(2),
}
FORMS = CONSTANTS | POOLS | AVERAGES | DEEP | POWERS | PARTS | TURNED | VOLUMES | SPOILED


def _kernel(p: Parameter, channels: int, groups: int) -> Tensor:
    """Eight filters of 1x3x3."""
    return p(20, 1)[:, 0][torch.arange(72 * channels // groups) % 20].view(8, -1, 1, 3, 3)


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
    *("onnxruntime", "opencv", "opencv5", "mnn", "ncnn", "openvino", "web"),
    *("litert", "litert-nchw", "executorch"),
]
_PLAIN = CONSTANTS | POOLS | POWERS | PARTS
CASES: list[tuple[str, Precision, int, dict[str, Form]]] = [
    *((name, "float32", 90, _PLAIN if "opencv" in name else _PLAIN | TURNED) for name in _FLOAT32),
    ("mnn", "float16", 35, CONSTANTS),
    ("rknn:rk3588", "float16", 35, CONSTANTS | POOLS | POWERS | VOLUMES),
    ("onnxruntime", "int8", 15, CONSTANTS | AVERAGES | SPOILED),
    ("openvino", "int8", 15, CONSTANTS | AVERAGES | DEEP | SPOILED),
    ("litert", "int8", 15, AVERAGES | SPOILED),
    ("executorch", "int8", 15, {n: SPOILED[n] for n in ("a written sigmoid", "a written SiLU")}),
    *((name, "int8", 15, AVERAGES) for name in ("mnn", "rknn:rv1106")),
]


@pytest.mark.parametrize(
    ("name", "precision", "enough", "forms"), CASES, ids=lambda value: str(value)[:16]
)
def test_the_engine_answers_as_pytorch(
    name: str, precision: Precision, enough: int, forms: dict[str, Form], tmp_path: Path
) -> None:
    target = installed_target(name)
    fits = [form for form in forms if not _errors(form, target)]
    assert len(fits) >= len(forms) - 3
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
