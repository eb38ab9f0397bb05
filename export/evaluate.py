"""A model's metric, in PyTorch and on targets: exports without keeping the exported files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..scratch import scratch_folder
from .check import fits_zoo_model
from .pipeline import export_all
from .prepare import prepare
from .results.compare import score
from .results.schema import ExportResult
from .targets import find_targets
from .targets.base import Evidence

PYTORCH = "pytorch"


def evaluate_model(
    model: str,
    to: str,
    *,
    int8: bool = False,
    weights: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    jobs: int = 1,
    on_step: Callable[[str], None] | None = None,
) -> list[ExportResult]:
    """One row a place and precision; ``to`` is a comma-separated list, ``pytorch`` among them.

    The other arguments are those of :func:`edgeark.export.pipeline.export_model`.

    Raises:
        EdgearkError: unknown names, no weights, no data.
    """
    names = [name.strip() for name in to.split(",") if name.strip()]
    others = [name for name in names if name != PYTORCH]
    fits = fits_zoo_model(model)
    targets = find_targets(",".join(others), fits) if others or not names else []
    with scratch_folder("eval") as scratch:
        folder = Path(scratch)
        subject = prepare(model, folder, weights=weights, data=data, limit=limit)
        rows = []
        if PYTORCH in names:
            figures = subject.figures(len(subject.test))
            metric = score(subject.spec, figures, figures, subject.test)
            rows.append(
                ExportResult(
                    model=model,
                    target=PYTORCH,
                    precision="float32",
                    status="ok",
                    evidence=Evidence.EXECUTED.value,
                    metric=metric,
                )
            )
        exports = folder / "exports"
        exported = export_all(subject, targets, exports, int8=int8, jobs=jobs, on_step=on_step)
        for row in exported:  # the files are gone when this returns; a failed export's log is kept
            kept_log = row.log if row.status in ("error", "unavailable") else None
            rows.append(row.replace(artifact=None, log=kept_log))
    return rows
