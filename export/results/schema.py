"""The schema of a result: what the Python API returns, ``--json`` prints and files keep.

Every place that reads or writes a result does so through these models, so that a figure has one
name everywhere. All are frozen, and hold only what strict JSON can (no NaN, no infinity).
"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..targets.base import Evidence, Placement, Precision

if TYPE_CHECKING:
    from typing_extensions import Self

Status = Literal["ok", "failed", "inconclusive", "error", "unavailable"]


_KINDS = "|".join(each.value for each in Evidence)
# ``executed``, or ``executed on noise``, or ``executed on noise against onnxruntime``.
EvidenceText = Annotated[
    str, Field(pattern=rf"^({_KINDS})( on noise)?( against (onnxruntime|torchscript))?$")
]


class Record(BaseModel):
    """A frozen model with strict JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, in the order of the fields."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, which are validated."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})


class Figure(Record):
    """A further figure of a metric: PyTorch's, and the target's."""

    float: builtins.float
    value: builtins.float


class Metric(Record):
    """A task's metric: ``float`` is PyTorch's, ``value`` the target's, on the same n images.

    Shares are in 0..1. ``details`` are further figures by name; limits look at the first figure
    alone.
    """

    name: str
    float: builtins.float
    value: builtins.float
    n: int
    dataset: str
    details: dict[str, Figure] = Field(default_factory=dict)


class SourceResult(Record):
    """What a file answers that a converter reads whose result nothing here runs.

    ``peak`` is the largest magnitude in PyTorch's answers.
    """

    file: str
    max_abs_error: float
    sqnr_db: float
    peak: float
    metric: Metric | None = None


class Calibration(Record):
    """How int8 was made: the images, and the algorithm and wide layers where there is a choice."""

    dataset: str
    split: str
    count: int
    choice: str
    algorithm: str | None = None
    wide_layers: tuple[str, ...] = ()


class Result(Record):
    """One model on one target at one precision; what was not measured is None.

    ``status``: ``ok``; ``failed`` (it runs, but misses a limit, or the chip would refuse it);
    ``inconclusive`` (too few images to tell whether it reaches its limit); ``error`` (the toolchain
    failed); ``unavailable`` (the toolchain cannot be had on this machine). ``evidence`` is None
    where nothing was proven. ``max_abs_error`` and ``sqnr_db`` compare the outputs with PyTorch's,
    see :func:`~edgeark.export.results.compare.compare`.
    """

    model: str
    target: str
    precision: Precision
    status: Status
    evidence: EvidenceText | None = None
    max_abs_error: float | None = None
    sqnr_db: float | None = None


class ProvenResult(Result):
    """With what a proof on the test images finds: the task's metric, and what ran where."""

    metric: Metric | None = None
    placement: Placement | None = None
    calibration: Calibration | None = None


class ExportResult(ProvenResult):
    """A row of ``edgeark export``.

    ``message`` says why the status is what it is, and warns of what the simulator does not show.
    Where no runtime ran the artifact, the figures and ``run_ms`` are None, and ``source_results``
    has the files that were handed over instead. ``outputs`` are the target's raw outputs on the
    test images; they are not part of the JSON.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    artifact: Path | None = None
    size_bytes: int | None = None
    convert_s: float | None = None
    run_ms: float | None = None
    log: Path | None = None
    message: str = ""
    source_results: tuple[SourceResult, ...] = ()
    outputs: list[np.ndarray] = Field(default_factory=list, exclude=True, repr=False)


class VerifyResult(Result):
    """A row of ``edgeark verify``: ``repeat_error`` compares an export with its own old answers."""

    folder: Path
    repeat_error: float | None = None
    log: Path | None = None
    message: str = ""


class MatrixResult(Result):
    """An entry of the file of results that ``edgeark matrix`` writes.

    ``weights`` is the SHA-256 of the file that shipped, ``toolchain`` has versions by package.
    ``limit`` is the most test images that were asked for; 0: all; None: not recorded at the time.
    ``source_sqnr_db`` is that of a file which was handed over, where nothing here runs the export.
    """

    toolchain: dict[str, str]
    weights: str
    limit: int | None = None
    source_sqnr_db: float | None = None
    npu_mac_fraction: float | None = None
    size_bytes: int | None = None
    message: str = ""
    metric: Metric | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.model, self.target, self.precision
