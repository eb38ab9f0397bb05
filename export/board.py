"""What a board answered to the golden inputs, judged: ``board.json`` beside its export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError
from pydantic_core import from_json

from ..core.files import read_file
from ..core.messages import describe_invalid
from ..errors import EdgearkError
from .results.folder import MANIFEST
from .results.schema import Record, VerifyResult
from .targets.base import Evidence
from .verify import Golden, Reopened, allowed_repeat_error


class BoardError(EdgearkError):
    """A file that is no ``board.json`` of a board program."""


class _Section(Record):
    model_config = ConfigDict(extra="ignore")  # a later program may write more


class Difference(_Section):
    """How far the board's answers are from others; ``peak`` is the largest of those."""

    max_abs_error: NonNegativeFloat
    sqnr_db: float
    peak: NonNegativeFloat


class Differences(_Section):
    """From the export's own answers, where something had run it, and from PyTorch's."""

    export: Difference | None = None
    pytorch: Difference


class BoardFile(_Section):
    name: str
    sha256: str


class BoardGolden(_Section):
    count: PositiveInt
    sha256: str


class BoardReport(_Section):
    """What a board program writes with ``--golden``."""

    schema_version: Literal[1] = Field(alias="schema")
    model: str
    target: str
    precision: str
    files: tuple[BoardFile, ...]
    golden: BoardGolden
    differences: Differences
    infer_ms: dict[str, float] = Field(default_factory=dict)
    runtime: dict[str, str] = Field(default_factory=dict)
    program: str = ""
    machine: dict[str, str] = Field(default_factory=dict)


def read_board(path: Path) -> BoardReport:
    """The report of a board.

    Raises:
        BoardError: there is none, or it is not one.
    """
    try:
        return BoardReport.model_validate(from_json(read_file(path), allow_inf_nan=False))
    except OSError as error:
        raise BoardError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise BoardError(f"{path}: {describe_invalid(error)}") from None
    except ValueError as error:
        raise BoardError(f"{path} is not JSON: {error}") from None


def verify_board(export: Reopened, report: BoardReport) -> VerifyResult:
    """Whether a board answered as the export did when it was written.

    Where nothing had run the export, PyTorch's answers are those to compare with. What is allowed
    follows from the export's own golden vectors, and nothing in the report adds to it. The evidence
    is ``on device`` where the report is about this very export.

    Raises:
        EdgearkError: the golden vectors cannot be read.
    """
    found = export.manifest
    row = VerifyResult(
        folder=export.folder,
        model=found.model,
        target=found.target,
        precision=found.precision,
        status="failed",
    )
    if changed := export.changed_files():
        return row.replace(message=f"not the files that {MANIFEST} describes: {', '.join(changed)}")
    golden = export.golden()
    if other := _mismatch(export, golden, report):
        return row.replace(message=f"the board ran something else: {other}")
    pytorch = report.differences.pytorch
    judged = report.differences.export if golden.answers else pytorch
    if judged is None:
        return row.replace(message="the report says nothing of the export's own answers")
    row = row.replace(
        evidence=Evidence.ON_DEVICE,
        max_abs_error=pytorch.max_abs_error,
        sqnr_db=pytorch.sqnr_db,
        repeat_error=judged.max_abs_error,
    )
    wanted = golden.answers or golden.reference
    peak = max(max(float(each.max()), -float(each.min())) for each in wanted)
    allowed = allowed_repeat_error(found.precision, peak)
    if judged.max_abs_error > allowed:
        whose = "the export" if golden.answers else "PyTorch"
        return row.replace(
            message=f"the board answers otherwise than {whose}: by {judged.max_abs_error:.2e}, "
            f"more than {allowed:.1e}"
        )
    if found.status != "ok":
        words = f"the board answers so too, but it was {found.status} when it was written"
        return row.replace(status=found.status, message=f"{words}: {found.message}")
    return row.replace(status="ok", message=_describe(report))


def _mismatch(export: Reopened, golden: Golden, report: BoardReport) -> str:
    """In what the report is not about the export; empty where it is."""
    found = export.manifest
    wanted = {file.name: file.sha256 for file in found.files}
    ran = {file.name: file.sha256 for file in report.files}
    digest = hashlib.sha256(np.ascontiguousarray(golden.images).tobytes()).hexdigest()
    for what, here, there in (
        ("model", found.model, report.model),
        ("target", found.target, report.target),
        ("precision", found.precision, report.precision),
    ):
        if here != there:
            return f"{what} {there}, not {here}"
    if changed := sorted(name for name in wanted if ran.get(name) != wanted[name]):
        return f"another {', '.join(changed)}"
    is_same = report.golden.sha256 == digest and report.golden.count == len(golden.images)
    return "" if is_same else "other golden inputs"


def _describe(report: BoardReport) -> str:
    """Machine, runtime and time, where the report says them."""
    machine = report.machine.get("board") or report.machine.get("architecture", "")
    runtime = " ".join(report.runtime.get(key, "") for key in ("name", "version")).strip()
    parts = [part for part in (machine, runtime) if part]
    if "median" in report.infer_ms:
        parts.append(f"{report.infer_ms['median']:.2f} ms")
    return ", ".join(parts)
