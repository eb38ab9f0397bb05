"""What LiteRT's worker fixes: it is needed, and the answers agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.targets.base import Precision
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches, Function, Try, findings, try_each
from torch import Tensor
from torch.nn import functional as f


def resize(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, **options)  # type: ignore[arg-type]


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
