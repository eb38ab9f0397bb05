"""A model's metric, in PyTorch and on targets: exports without keeping the exported files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.scratch import scratch_folder
from .pipeline import OnRow, Step, export_all
from .request import NetworkRequest
from .results.compare import score
from .results.schema import ExportResult
from .targets import find_targets
from .targets.base import Evidence

PYTORCH = "pytorch"


def evaluate_model(
    model: str | NetworkRequest,
    to: str | Sequence[str],
    *,
    int8: bool = False,
    weights: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    jobs: int = 1,
    on_step: Step | None = None,
    on_row: OnRow | None = None,
) -> list[ExportResult]:
    """One row a place and precision; ``to`` names targets, and ``pytorch``.

    Args:
        model: a model of the zoo, measured on its own data set; or a network of one's own with
            what measures it, in which case ``weights`` and ``data`` say nothing.
        to, int8, weights, data, limit, jobs, on_step: as for
            :func:`edgeark.export.pipeline.export_model`.
        on_row: as for :func:`edgeark.export.pipeline.export_all`.

    Raises:
        EdgearkError: unknown names, no weights, no data.
    """
    request = NetworkRequest(model, weights=weights, data=data) if isinstance(model, str) else model
    names = [name.strip() for name in (to.split(",") if isinstance(to, str) else to)]
    others = [name for name in names if name not in ("", PYTORCH)]
    is_pytorch_alone = PYTORCH in names and not others
    targets = [] if is_pytorch_alone else find_targets(",".join(others), request.fits)
    with scratch_folder("eval") as scratch:
        folder = Path(scratch)
        context = request.prepare(folder, limit=limit)
        rows = []
        if PYTORCH in names:
            figures = context.figures(len(context.test))
            metric = score(context.spec, figures, figures, context.test)
            rows.append(
                ExportResult(
                    model=context.name,
                    target=PYTORCH,
                    precision="float32",
                    status="ok",
                    evidence=Evidence.EXECUTED.value + (" on noise" if context.on_noise else ""),
                    metric=metric,
                )
            )
        exports = folder / "exports"
        told = {"on_step": on_step, "on_row": on_row}
        exported = export_all(context, targets, exports, int8=int8, jobs=jobs, **told)
        for row in exported:  # the files are gone when this returns; a failed export's log is kept
            kept_log = row.log if row.status in ("error", "unavailable") else None
            rows.append(row.replace(artifact=None, log=kept_log))
    return rows
