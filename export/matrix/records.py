"""The zoo on its targets as measured: a file of results, and the table made of it.

Measured numbers are data: ``edgeark matrix`` alone writes them, documents are made of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...core.catalog import WEIGHTS_DIR, packaged_weights
from ..request import NetworkRequest
from ..results.measured_file import place_of, read_measured, write_measured
from ..results.schema import ExportResult, MatrixResult, Metric, Result
from ..targets import find_target

RESULTS = WEIGHTS_DIR / "results.toml"


def weights_digest(request: NetworkRequest) -> str:
    """SHA-256 of the weights file, or of the network's own file; of code, of its tensors."""
    file = request.weights or Path(str(request.network))
    if request.is_measured and request.weights is None:
        file = packaged_weights(str(request.network))
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, tensor in request.source.model.state_dict().items():
        digest.update(name.encode() + tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def measured(row: ExportResult, weights: str, limit: int | None) -> MatrixResult:
    """What a row of an export says, with what made it: weights, versions, and the limit of images.

    ``weights`` is their digest; see :func:`weights_digest`.
    """
    shared = {name: getattr(row, name) for name in Result.model_fields}
    return MatrixResult(
        **shared,
        toolchain=find_target(row.target).versions(),
        weights=weights,
        limit=limit or 0,
        source_sqnr_db=min((source.sqnr_db for source in row.source_results), default=None),
        npu_mac_fraction=row.placement and row.placement.npu_mac_fraction,
        size_bytes=row.size_bytes,
        message=row.message if row.status != "ok" else "",
        metric=row.metric and row.metric.replace(details={}),
    )


def read_results(path: Path = RESULTS) -> list[MatrixResult]:
    """What was measured; nothing where there is no such file.

    Raises:
        EdgearkError: it is not a file of results.
    """
    return read_measured(path, "result", MatrixResult)


def write_results(results: Sequence[MatrixResult], path: Path) -> None:
    """By model, target and precision, whatever order they were measured in."""

    def order(result: MatrixResult) -> tuple[object, ...]:
        return result.model, *place_of(result)

    hidden = {"metric": {"details"}}  # nothing of them is kept
    documents = (
        result.model_dump(mode="json", exclude_none=True, exclude=hidden)
        for result in sorted(results, key=order)
    )
    write_measured(path, "result", documents, "edgeark matrix")


def to_markdown(results: Sequence[MatrixResult], models: Sequence[str]) -> str:
    """A table: a line a target and precision, a column a model: metric, and SQNR against PyTorch.

    In brackets is the SQNR of a file that was handed over, where nothing here runs the export, and
    PyTorch's metric where a row's images are not those of most rows.
    """
    chosen = [result for result in results if result.model in models]
    common: dict[str, str] = {}
    counts = Counter((r.model, _by_pytorch(r.metric)) for r in chosen if r.metric)
    for (model, figure), _ in counts.most_common():
        common.setdefault(model, figure)
    cells = {result.key: _cell(result, common.get(result.model, "")) for result in chosen}
    lines = {
        (result.target, result.precision): result.evidence
        for result in sorted(chosen, key=place_of)
    }
    rows = [
        ["target", "precision", "evidence", *(f"`{model}`" for model in models)],
        [*["---"] * 3, *["--:"] * len(models)],
        ["PyTorch", "float32", "", *(common.get(model, "") for model in models)],
    ]
    for (target, precision), evidence in lines.items():
        found = [cells.get((model, target, precision), "") for model in models]
        rows.append([f"`{target}`", precision, evidence or "", *found])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _by_pytorch(metric: Metric) -> str:
    return f"{100 * metric.float:.2f} % of {metric.n:,}"


def _cell(result: MatrixResult, common: str) -> str:
    """``common`` is PyTorch's metric on the images of most rows."""
    if result.status != "ok":
        return result.status
    if result.metric and result.sqnr_db is not None:
        theirs = _by_pytorch(result.metric)
        others = "" if theirs == common else f" (PyTorch {theirs})"
        return f"{100 * result.metric.value:.2f} %{others}, {result.sqnr_db:.0f} dB"
    return "" if result.source_sqnr_db is None else f"({result.source_sqnr_db:.0f} dB)"
