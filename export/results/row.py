"""What an export ends in: a row of figures, with the words of the command line's contract."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..targets.base import Placement, Precision
from .compare import Metric, Parity

Status = Literal["ok", "failed", "error", "unavailable"]


@dataclass(frozen=True)
class SourceResult:
    """What a file answers that a converter reads whose result nothing here runs."""

    file: str
    parity: Parity
    metric: Metric

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, **asdict(self.parity), "metric": asdict(self.metric)}


@dataclass(frozen=True)
class ExportResult:
    """One model on one target at one precision, and what was found.

    ``status``: ``ok``; ``failed`` (it runs, but misses a limit, or the chip would refuse it);
    ``error`` (the toolchain failed); ``unavailable`` (the toolchain cannot be had on this machine).
    ``message`` says why, and warns of what the simulator does not show. ``evidence`` is None where
    nothing was proven. Where no runtime ran the artifact, ``parity``, ``metric`` and ``run_ms`` are
    None, and ``sources`` has the files that were handed over instead. ``calibration`` says how int8
    was made.
    """

    model: str
    target: str
    precision: Precision
    status: Status
    evidence: str | None = None
    parity: Parity | None = None
    metric: Metric | None = None
    placement: Placement | None = None
    calibration: dict[str, Any] | None = None
    artifact: Path | None = None
    size_bytes: int | None = None
    convert_s: float | None = None
    run_ms: float | None = None
    log: Path | None = None
    message: str = ""
    sources: tuple[SourceResult, ...] = ()
    outputs: list[np.ndarray] = field(default_factory=list, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, in the order of the command line's contract."""
        return {
            "model": self.model,
            "target": self.target,
            "precision": self.precision,
            "status": self.status,
            "evidence": self.evidence,
            "max_abs_error": self.parity and self.parity.max_abs_error,
            "sqnr_db": self.parity and self.parity.sqnr_db,
            "metric": self.metric and asdict(self.metric),
            "placement": self.placement and self.placement.summary(),
            "calibration": self.calibration,
            "artifact": self.artifact and str(self.artifact),
            "size_bytes": self.size_bytes,
            "convert_s": self.convert_s,
            "run_ms": self.run_ms,
            "log": self.log and str(self.log),
            "message": self.message,
            "source_results": [source.to_dict() for source in self.sources],
        }
