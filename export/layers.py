"""Where a target's error comes from: what each layer loses, as rows and as a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..core.scratch import scratch_folder
from ..errors import EdgearkError
from .calibration import require_known
from .pipeline import planned_precisions
from .request import NetworkRequest
from .targets import families, family_of, find_targets
from .targets.base import (
    DEFAULT_QUANTIZATION,
    Conversion,
    LayerError,
    Precision,
    Quantization,
    Target,
)

_COUNT = 8  # images; a layer's figures settle with a few
_EQUAL_DB = 100.0  # drawn no higher: nothing is lost


@dataclass(frozen=True)
class LayerReport:
    """The layers of a model on a target, in the order of computation."""

    model: str
    target: str
    precision: Precision
    layers: list[LayerError]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def analyze_layers(
    request: NetworkRequest,
    targets: str | Sequence[str],
    *,
    int8: bool = False,
    count: int = _COUNT,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    on_step: Callable[[str], None] | None = None,
) -> list[LayerReport]:
    """Convert to each target and ask it for the error of every layer on ``count`` test images.

    Raises:
        EdgearkError: unknown names, no weights, no data, a target that does not tell, or whose
            toolchain fails.
    """
    chosen = find_targets(targets if isinstance(targets, str) else ",".join(targets), request.fits)
    require_known(quantization, chosen)
    silent = [each.full_name for each in chosen if not _tells(type(each))]
    if silent:
        able = ", ".join(name for name in families() if _tells(family_of(name)))
        raise EdgearkError(f"{silent[0]} does not tell the errors of layers; there is {able}")
    reports = []
    with scratch_folder("layers") as scratch:
        folder = Path(scratch)
        context = request.prepare(folder, limit=count, quantization=quantization)
        for target in chosen:
            for precision in planned_precisions(target, int8):
                if on_step:
                    on_step(f"layers of {context.name} on {target.full_name} {precision}")
                out = folder / target.folder_name / precision
                out.mkdir(parents=True)
                images = context.calibration.images if precision == "int8" else None
                log = out / "log.txt"
                job = Conversion(context.graph, precision, out, log, images, quantization)
                layers = target.layer_errors(target.convert(job), context.test.images, log)
                if layers is None:
                    raise EdgearkError(f"{target.full_name} does not tell the errors of layers")
                reports.append(LayerReport(context.name, target.full_name, precision, layers))
    return reports


def _tells(family: type[Target]) -> bool:
    return family.layer_errors is not Target.layer_errors


def plot_layers(reports: Sequence[LayerReport], path: Path) -> None:
    """A panel a report: each layer's own SQNR as a bar, and the accumulated one as a line."""
    longest = max(len(report.layers) for report in reports)
    size = (max(6.0, 1.5 + 0.22 * longest), 3.4 * len(reports))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(reports), 1, squeeze=False)[:, 0]
    for axis, report in zip(panels, reports, strict=True):
        places = np.arange(len(report.layers))
        own = [min(layer.own_sqnr_db, _EQUAL_DB) for layer in report.layers]
        total = [min(layer.sqnr_db, _EQUAL_DB) for layer in report.layers]
        axis.bar(places, own, color="tab:blue", alpha=0.6, label="this layer alone")
        axis.plot(places, total, color="tab:red", marker=".", label="all layers up to it")
        labels = [f"{layer.module or '(network)'} {layer.op}" for layer in report.layers]
        axis.set_xticks(places, labels, rotation=90, fontsize=7)
        axis.set(title=f"{report.model} on {report.target} {report.precision}", ylabel="SQNR, dB")
        axis.margins(x=0.01)
        axis.grid(axis="y", alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, format="png", dpi=110)
