"""Where a target's error comes from: what each layer loses, as rows and as a plot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.scratch import scratch_folder
from ..errors import EdgearkError
from .calibration import require_known
from .graph.files import Graph
from .pipeline import planned_precisions, refuse_what_cannot_be
from .prepare import EvalContext
from .probes import measure_layers
from .request import NetworkRequest
from .results.layers_file import LayerReport
from .targets import find_targets
from .targets.base import (
    DEFAULT_QUANTIZATION,
    Artifact,
    Conversion,
    LayerError,
    Precision,
    Quantization,
    Target,
)

_COUNT = 8  # images; a layer's figures settle with a few
_EQUAL_DB = 100.0  # drawn no higher: nothing is lost


def analyze_layers(
    request: NetworkRequest,
    targets: str | Sequence[str],
    *,
    int8: bool = False,
    count: int = _COUNT,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    on_step: Callable[[str], None] | None = None,
) -> list[LayerReport]:
    """Convert to each target and find the error of every layer on ``count`` test images.

    A target whose toolchain measures layers does it; else the network is converted with every
    layer as an output, and its layers are compared with PyTorch's: see :mod:`.probes`.

    Raises:
        EdgearkError: unknown names, no weights, no data, a target that nothing here runs, or that
            cannot take the network, or whose toolchain fails.
    """
    chosen = find_targets(targets if isinstance(targets, str) else ",".join(targets), request.fits)
    require_known(quantization, chosen)
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
                refuse_what_cannot_be(context, target, precision)
                layers = _measure(context, target, precision, out)
                reports.append(LayerReport(context.name, target.full_name, precision, layers))
    return reports


def _measure(
    context: EvalContext, target: Target, precision: Precision, out: Path
) -> list[LayerError]:
    images = context.calibration.images if precision == "int8" else None
    log, numbers = out / "log.txt", itertools.count()

    def convert(graph: Graph) -> Artifact:
        folder = out / f"conversion{next(numbers)}"
        folder.mkdir()
        return target.convert(
            Conversion(graph, precision, folder, log, images, context.quantization)
        )

    def answer(graph: Graph) -> Sequence[np.ndarray]:
        result = target.run(convert(graph), context.test.images, log)
        if result is None:
            raise EdgearkError(
                f"nothing here runs {target.full_name}, so nobody knows the errors of its layers"
            )
        return result.outputs

    if type(target).layer_errors is Target.layer_errors:
        return measure_layers(context.graph, context.test.images, answer, out)
    layers = target.layer_errors(convert(context.graph), context.test.images, log)
    if layers is None:
        raise EdgearkError(f"{target.full_name} does not tell the errors of layers")
    return layers


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
