"""What rknn1's tests share: its export of a few digits."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext
from edgeark.export.targets import find_target

from support.rknn1_double import activate
from support.target_base import prepared

TARGET = "rknn1:rk3399pro"


def few_digits() -> EvalContext:
    """``mnist`` with 40 test images."""
    context = prepared("mnist")
    return replace(
        context,
        test=context.test.head(40),
        reference=[output[:40] for output in context.reference],
    )


def export_digits(digits: EvalContext, out: Path) -> Path:
    """The folder of an int8 export."""
    row = export_one(digits, find_target(TARGET), "int8", out)
    assert row.status == "ok", row.message
    assert row.artifact is not None
    return row.artifact.parent


def packages_of(folder: Path) -> list[str]:
    """The places in which a Python finds the stand-in for the toolkit; it is put into one."""
    return activate(folder)["PYTHONPATH"].split(os.pathsep)
