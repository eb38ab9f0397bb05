"""Core ML's rules: each fires on a small network, not on its neighbour, and coremltools agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.coreml.rules import RULES
from edgeark.export.backends.coreml.target import CoreMl
from support.target_base import installed_target
from support.tries import Function, Try, findings, try_each
from torch import Tensor, nn
from torch.nn import functional as f


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def half(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, (12, 20), mode="bilinear", **options)  # type: ignore[arg-type]


# A rule, a network where it fires, one where it does not
CASES: list[tuple[str, Function, Function]] = [
    ("unknown-operator", nn.ChannelShuffle(2), shuffle),
    ("unknown-operator", lambda x: f.pixel_unshuffle(x, 2), lambda x: f.pixel_shuffle(x, 2)),
    ("unknown-operator", lambda x: f.interpolate(x, (30, 50), mode="bicubic"), half),
    (
        "unknown-operator",
        lambda x: f.interpolate(x, (30, 50), mode="nearest-exact"),
        lambda x: f.interpolate(x, (30, 50)),
    ),
    ("unknown-operator", lambda x: f.interpolate(x[None], scale_factor=2)[0], lambda x: x[None]),
    ("unknown-operator", f.logsigmoid, f.softplus),
    ("unknown-operator", f.celu, f.elu),
    ("unknown-operator", f.softshrink, f.softsign),
    ("unknown-operator", f.hardshrink, f.hardsigmoid),
    ("unknown-operator", torch.trunc, torch.floor),
    ("unknown-operator", lambda x: torch.fmod(x, 0.7), lambda x: torch.remainder(x, 0.7)),
    ("unknown-operator", lambda x: torch.lerp(x, -x, 0.3), lambda x: x - 0.3 * x),
    ("unknown-operator", lambda x: torch.addcmul(x, x, x), lambda x: x + x * x),
    ("unknown-operator", lambda x: x.prod(1), lambda x: x.sum(1)),
    ("unknown-operator", lambda x: torch.rot90(x, 1, (2, 3)), lambda x: x.flip(3)),
    (
        "unknown-operator",
        lambda x: x.index_add(1, torch.tensor([0, 1]), x[:, :2]),
        lambda x: x[:, [3, 1]],
    ),
    (
        "unknown-operator",
        lambda x: torch.cdist(x.flatten(2), x.flatten(2)),
        lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    ),
    (
        "unknown-operator",
        lambda x: f.max_pool2d(x, 2, return_indices=True)[1].float(),
        lambda x: f.max_pool2d(x, 2),
    ),
    (
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="bilinear"),
    ),
    ("dilated-pool", nn.MaxPool2d(3, 1, 1, dilation=2), nn.MaxPool2d(3, 1, 1)),
    ("divisor-override", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2)),
    (
        "circular-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
    ),
    ("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    ("antialias", lambda x: half(x, antialias=True), half),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tries")


@pytest.fixture(scope="module")
def tries(folder: Path) -> list[tuple[Try, Try]]:
    target = installed_target("coreml")
    assert isinstance(target, CoreMl)
    functions = [function for _, *pair in CASES for function in pair]
    tried = try_each(target, functions, folder, runs=False)
    return list(zip(tried[::2], tried[1::2], strict=True))


@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_rule_fires_where_coremltools_fails(index: int, tries: list[tuple[Try, Try]]) -> None:
    rule, bad, good = CASES[index]
    assert rule in findings(CoreMl(), bad)
    assert findings(CoreMl(), good) == set()
    refused, taken = tries[index]
    assert taken.error == ""
    assert (refused.error == "") == (rule == "antialias"), refused.error


def test_antialias_is_dropped(folder: Path, tries: list[tuple[Try, Try]]) -> None:
    """The very same program is written without it, and PyTorch's answers differ."""
    (index,) = (index for index, case in enumerate(CASES) if case[0] == "antialias")
    made = [folder / str(i) / "model.mlpackage" for i in (2 * index, 2 * index + 1)]
    programs = [path / "Data/com.apple.CoreML/model.mlmodel" for path in made]
    assert programs[0].read_bytes() == programs[1].read_bytes()
    x = torch.rand(1, 8, 24, 40)
    assert not torch.allclose(half(x), half(x, antialias=True), atol=0.1)


def test_every_rule_is_tried() -> None:
    assert {rule.name for rule in RULES} == {case[0] for case in CASES}
