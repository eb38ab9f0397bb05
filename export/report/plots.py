"""Error histograms and charts of layers in a report, as shapes for inline SVG.

They are drawn by the template, not by matplotlib: inline SVG takes the page's colours,
light or dark, and stays sharp on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..targets.base import LayerError

BINS_PER_DECADE = 4
EQUAL_DB = 100.0
PLOT_WIDTH, PLOT_HEIGHT = 220.0, 64.0  # of the area of the bars, in the units of the drawing


@dataclass(frozen=True)
class Axis:
    """The decades ``low..high`` (powers of ten) that a set of histograms shares."""

    low: int
    high: int

    def x(self, exponent: float) -> float:
        """Where ``10 ** exponent`` is drawn."""
        return round(PLOT_WIDTH * (exponent - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions and labels, few enough to be read."""
        step = 1 + (self.high - self.low) // 7
        return [(self.x(e), f"1e{e}") for e in range(self.low, self.high + 1, step)]


@dataclass(frozen=True)
class Histogram:
    """How ``log10 |target - PyTorch|`` is distributed over all values of all outputs.

    ``bars`` are ``(x, y, width, height)``; ``equal`` is the share of values that do not differ at
    all, which no logarithm can show; ``limit_x`` is where the limit on the largest error is.
    """

    target: str
    precision: str
    bars: list[tuple[float, float, float, float]]
    equal: float
    median: float
    largest: float
    limit_x: float | None


@dataclass(frozen=True)
class LayerChart:
    """SQNR of each layer in the order of computation.

    ``bars`` are ``(x, y, width, height, title)`` of a layer alone, ``line`` the points of all up to
    it; ``worst`` names the layer that loses most by itself.
    """

    target: str
    precision: str
    bars: list[tuple[float, float, float, float, str]]
    line: str
    ticks: list[tuple[float, str]]
    worst: str


def layer_chart(target: str, precision: str, layers: Sequence[LayerError]) -> LayerChart:
    """The chart of at least one layer; what is above ``EQUAL_DB`` loses nothing."""

    def y(sqnr_db: float) -> float:
        return round(PLOT_HEIGHT * (1 - min(max(sqnr_db, 0.0), EQUAL_DB) / EQUAL_DB), 2)

    width = PLOT_WIDTH / len(layers)
    names = [f"{layer.module or '(network)'} {layer.op}" for layer in layers]
    bars = [
        (
            *(round(index * width, 2), y(layer.own_sqnr_db), round(0.85 * width, 2)),
            round(PLOT_HEIGHT - y(layer.own_sqnr_db), 2),
            f"{name}: {layer.own_sqnr_db:.1f} dB alone, {layer.sqnr_db:.1f} dB with all before it",
        )
        for index, (name, layer) in enumerate(zip(names, layers, strict=True))
    ]
    points = (
        f"{round((index + 0.4) * width, 2)} {y(layer.sqnr_db)}"
        for index, layer in enumerate(layers)
    )
    index = min(range(len(layers)), key=lambda i: layers[i].own_sqnr_db)
    worst = f"{names[index]}, {layers[index].own_sqnr_db:.1f} dB"
    ticks = [(y(level), f"{level:.0f}") for level in (0, EQUAL_DB / 2, EQUAL_DB)]
    return LayerChart(target, precision, bars, "M" + "L".join(points), ticks, worst)


def absolute_errors(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> np.ndarray:
    """``|target - PyTorch|`` of every value of every output, flat; n images against their own."""
    return np.concatenate(
        [
            np.abs(got.astype(np.float64) - wanted[: len(got)]).ravel()
            for wanted, got in zip(reference, outputs, strict=True)
        ]
    )


def error_histograms(
    errors: Sequence[tuple[str, str, np.ndarray, float | None]],
) -> tuple[Axis, list[Histogram]]:
    """Histograms on one x-axis and one y-scale.

    Args:
        errors: target, precision, absolute errors ``[M]`` and the limit on the largest, if any.
    """
    axis = _shared_axis([values for _, _, values, _ in errors])
    count = BINS_PER_DECADE * (axis.high - axis.low)
    shares = [_bin_shares(values, axis, count) for _, _, values, _ in errors]
    peak = max((float(s.max()) for s in shares), default=0.0) or 1.0
    drawn = [
        Histogram(
            target,
            precision,
            _bars(share / peak),
            equal=float((values == 0).mean()),
            median=float(np.median(values)),
            largest=float(values.max()),
            limit_x=_limit_x(axis, limit),
        )
        for (target, precision, values, limit), share in zip(errors, shares, strict=True)
    ]
    return axis, drawn


def _shared_axis(errors: Sequence[np.ndarray]) -> Axis:
    """The decades that hold all but the tiniest thousandth of each set of errors."""
    nonzero = [values[values > 0] for values in errors]
    nonzero = [values for values in nonzero if len(values)]
    if not nonzero:
        return Axis(-8, 0)
    low = min(float(np.floor(np.log10(np.quantile(values, 0.001)))) for values in nonzero)
    high = max(float(np.ceil(np.log10(values.max()))) for values in nonzero)
    return Axis(int(low), max(int(high), int(low) + 1))


def _bin_shares(values: np.ndarray, axis: Axis, count: int) -> np.ndarray:
    """Shares of all values; what lies under the axis is counted in its first bin."""
    exponents = np.clip(np.log10(values[values > 0]), axis.low, axis.high)
    counts, _ = np.histogram(exponents, bins=count, range=(axis.low, axis.high))
    return counts / len(values)


def _bars(heights: np.ndarray) -> list[tuple[float, float, float, float]]:
    width = PLOT_WIDTH / len(heights)
    return [
        (
            round(index * width, 2),
            round(PLOT_HEIGHT * (1 - height), 2),
            round(width - 0.6, 2),
            round(PLOT_HEIGHT * height, 2),
        )
        for index, height in enumerate(heights.tolist())
        if height > 0
    ]


def _limit_x(axis: Axis, limit: float | None) -> float | None:
    if limit is None or not axis.low <= np.log10(limit) <= axis.high:
        return None
    return axis.x(float(np.log10(limit)))
