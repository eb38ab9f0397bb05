"""LiteRT's rules and fixes: each fires where the toolchain fails, and not on its neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.litert.rules import RULES
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.targets.base import Precision
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches, Function, Try, findings, try_each
from torch import Tensor, nn
from torch.nn import functional as f


def resize(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, **options)  # type: ignore[arg-type]


# A rule, a network where it fires, one where it does not
CASES: list[tuple[str, Function, Function]] = [
    ("unknown-operator", nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(4)),
    ("unknown-operator", lambda x: x.flatten(1).topk(3)[0], lambda x: x.flatten(1).amax(1)),
    (
        "unknown-operator",
        lambda x: resize(x, size=(10, 20), mode="bilinear", antialias=True),
        lambda x: resize(x, size=(10, 20), mode="bilinear"),
    ),
    (
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=4),
    ),
    (
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 4, 2, 1, output_padding=1),
        nn.ConvTranspose2d(8, 8, 3, 2, output_padding=1),
    ),
    (
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 3, 2, dilation=2),
        nn.ConvTranspose2d(8, 8, 3, 1, 2, dilation=2),
    ),
    (
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 6, 2, 1),
        nn.ConvTranspose2d(8, 8, (4, 3), (2, 1), 1),
    ),
    (
        "fractional-size",
        lambda x: resize(x, scale_factor=1.3, mode="bilinear"),
        lambda x: resize(x, scale_factor=1.3, mode="bilinear", align_corners=True),
    ),
    (
        "fractional-size",
        lambda x: resize(x, scale_factor=1.3),
        lambda x: resize(x, scale_factor=1.5),
    ),
    (
        "pool-indices",
        lambda x: f.max_pool2d(x, 2, return_indices=True)[1].float(),
        lambda x: f.max_pool2d(x, 2),
    ),
]
# The same of int8
INT8_CASES: list[tuple[str, Function, Function]] = [
    ("int8-exponential", f.elu, f.silu),
    ("int8-exponential", f.mish, f.hardswish),
    ("int8-exponential", f.softplus, f.relu),
    (
        "int8-uncounted-padding",
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    ),
]
# A function of the worker that fixes it, and what it fixes
MENDS: list[tuple[str, Function]] = [
    ("_mended", lambda x: x.view(x.shape[0], -1)),
    ("_mended", lambda x: x.repeat(1, 2, 1, 1).repeat(1, 1, 2, 1)),
    ("_mended", lambda x: x.tile(2, 3)),
    ("_mend_nearest", lambda x: resize(x, size=(30, 41))),
    ("_mend_nearest", lambda x: resize(x, scale_factor=0.5)),
]


def is_right(tried: Try) -> bool:
    return not tried.error and tried.sqnr_db > 75


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Try, Try]]:
    target = installed_target("litert")
    assert isinstance(target, LiteRt)
    functions = [function for _, *pair in CASES for function in pair]
    tried = try_each(target, functions, tmp_path_factory.mktemp("tries"))
    return list(zip(tried[::2], tried[1::2], strict=True))


@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_rule_fires_where_litert_fails(index: int, tries: list[tuple[Try, Try]]) -> None:
    rule, bad, good = CASES[index]
    assert findings(LiteRt(), bad) == {rule}
    assert findings(LiteRt(), good) == set()
    wrong, right = tries[index]
    assert not is_right(wrong) and is_right(right), (wrong, right)


def test_every_rule_is_tried() -> None:
    assert {rule.name for rule in RULES} == {case[0] for case in (*CASES, *INT8_CASES)}


def test_a_rule_fires_where_int8_fails(tmp_path: Path) -> None:
    target = installed_target("litert")
    assert isinstance(target, LiteRt)
    functions = [function for _, *pair in INT8_CASES for function in pair]
    tried = try_each(target, functions, tmp_path, precision="int8")
    assert [not t.error and t.sqnr_db > 20 for t in tried] == [False, True] * len(INT8_CASES)
    for rule, bad, good in INT8_CASES:
        assert findings(target, bad) == {rule} and findings(target, good) == set()


def test_a_mend_is_needed(tmp_path: Path) -> None:
    target = installed_target("litert")
    assert isinstance(target, LiteRt)
    functions = [function for _, function in MENDS]
    names = {name for name, _ in MENDS}
    tried = try_each(target, functions, tmp_path, without=sorted(names))
    assert [is_right(t) for t in tried] == [False] * len(MENDS)


@pytest.mark.parametrize(("name", "precision"), [("litert", "int8"), ("litert-nchw", "float32")])
def test_what_is_mended_agrees(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    target = installed_target(name)
    graph = settle(Branches([function for _, function in MENDS]), SPEC, tmp_path)
    assert [rule for _, function in MENDS for rule in findings(target, function)] == []
    prove(target, graph, precision, tmp_path)
