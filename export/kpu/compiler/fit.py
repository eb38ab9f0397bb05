"""The KPU's activation table, fitted to any function: 15 segments with the least squared error.

A segment gives ``round(slope * (v - start)) + bias``, and the bias is a whole byte. A line that
passes its start between two bytes would be off by up to half of one, all along. So segments begin
where the wanted curve crosses a whole byte, and which of those to take is solved exactly by dynamic
programming.

A falling segment has negative products, which nncase's simulator and the firmware's routine both
round to one less than they should on the average (``tables.py``). Its bias is one more therefore,
and it pays for the spread that is left: a level segment wins where it is as good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tables import LOWEST, SEGMENTS, Activation
from .scalar import Scalar

_SAMPLES = 2048
_GRID = 48  # more places where a segment may begin, for where no byte is crossed
_SLOPE_BITS = 15
_FALLING_SPREAD = 7 / 12  # variance of a negative product's rounding, in bytes


@dataclass(frozen=True, eq=False)
class _Costs:
    """Of a segment from candidate i up to candidate j: float64 ``[n, n + 1]``, and its slope."""

    error: np.ndarray
    slope: np.ndarray
    bias: np.ndarray


def fit_activation(
    function: Scalar,
    domain: tuple[float, float],
    out_scale: float,
    out_zero: float,
    v_scale: float,
) -> Activation:
    """The table for bytes ``function(x) / out_scale + out_zero`` from integers ``x / v_scale``.

    Args:
        function: of a real number.
        domain: the numbers seen; the fit goes on for a quarter of it at either end.
        out_scale, out_zero: of the bytes; the zero may be a fraction.
        v_scale: of the table's input.
    """
    margin = max(domain[1] - domain[0], 1e-6) / 4
    low, high = domain[0] - margin, domain[1] + margin
    x = _samples(lambda x: np.clip(function(x) / out_scale + out_zero, 0, 255), low, high)
    level = function(x) / out_scale + out_zero
    wanted = np.clip(level, 0, 255)
    starts = _candidates(x, level)
    level_at = np.clip(np.interp(starts, x, wanted), 0, 255)
    inside = (x >= domain[0]) & (x <= domain[1])
    costs = _costs(
        (x - low) / (high - low), wanted, np.where(inside, 1.0, 0.02), starts, level_at, (low, high)
    )
    segments = [(LOWEST + 1, 0, 0, int(np.rint(wanted[0])))]
    for i, j in _cheapest(costs.error, SEGMENTS - 2):
        slope = costs.slope[i, j] * v_scale / (high - low)
        mul, shift = _fixed_point(slope)
        start = int(np.rint(starts[i] / v_scale))
        if start > segments[-1][0]:
            segments.append((start, mul, shift, int(costs.bias[i, j])))
    return Activation.of(segments)


def _samples(curve: Scalar, low: float, high: float) -> np.ndarray:
    """As many where the curve moves as all along: bytes may all lie in a small part of the sums."""
    even = np.linspace(low, high, 4 * _SAMPLES)
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(curve(even))))])
    length += np.linspace(0, 1e-6, len(even))  # rises everywhere
    moving = np.interp(np.linspace(0, length[-1], _SAMPLES), length, even)
    return np.unique(np.concatenate([even[::4], even[-1:], moving, np.clip([0.0], low, high)]))


def _candidates(x: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Where ``level`` crosses a whole number within 0..255, an even grid, and zero."""
    rising = np.diff(level) != 0
    found = [x[:1], np.linspace(x[0], x[-1], _GRID, endpoint=False)]
    if x[0] < 0 < x[-1]:
        found.append(np.zeros(1))
    for i in np.flatnonzero(rising & (np.floor(level[1:]) != np.floor(level[:-1]))):
        a, b = sorted((level[i], level[i + 1]))
        whole = np.arange(max(np.ceil(a), 0), min(np.floor(b), 255) + 1)
        part = (whole - level[i]) / (level[i + 1] - level[i])
        found.append(x[i] + part * (x[i + 1] - x[i]))
    return np.unique(np.concatenate(found))


def _costs(
    t: np.ndarray,
    wanted: np.ndarray,
    weight: np.ndarray,
    starts: np.ndarray,
    level_at: np.ndarray,
    ends: tuple[float, float],
) -> _Costs:
    """Squared errors from sums over samples, for all pairs of candidates at once.

    ``t`` are the samples in 0..1, between ``ends``.
    """
    begin = (starts - ends[0]) / (ends[1] - ends[0])
    index = np.append(np.searchsorted(t, begin, side="right"), len(t))

    def between(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return total[index][None, :] - total[index][:-1, None]

    s, st, stt = between(weight), between(weight * t), between(weight * t * t)
    sy, sty, syy = (
        between(weight * wanted),
        between(weight * t * wanted),
        between(weight * wanted**2),
    )
    bias, t0 = np.rint(level_at)[:, None], begin[:, None]
    # Around the anchor: u = t - t0, e = wanted - bias.
    suu = stt - 2 * t0 * st + t0**2 * s
    sue = sty - t0 * sy - bias * (st - t0 * s)
    see = syy - 2 * bias * sy + bias**2 * s
    slope = np.where(suu > 1e-12, sue / np.maximum(suu, 1e-12), 0)
    falling = slope < 0
    sloped = see - slope * sue + np.where(falling, _FALLING_SPREAD * s, 0)
    mean = np.rint(np.where(s > 1e-12, sy / np.maximum(s, 1e-12), bias))
    level = syy - 2 * mean * sy + mean**2 * s
    flat = (slope == 0) | (level <= sloped) | (falling & (bias == 255))
    return _Costs(
        np.where(flat, level, sloped),
        np.where(flat, 0, slope),
        np.where(flat, mean, bias + falling),
    )


def _cheapest(error: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Segments from the first candidate to the end, ``most`` at most, with the least sum of errors.

    ``error[i, j]`` is that of a segment from candidate i up to j; j = n is the end.
    """
    count = len(error)
    ahead = np.triu(np.ones((count, count + 1), bool), 1)
    price = np.where(ahead, error, np.inf) + 1e-6  # of equal sums the one of fewer segments
    best = np.append(np.full(count, np.inf), 0.0)  # from i to the end
    choices = []
    for _ in range(most):
        through = price + best
        choices.append(through.argmin(1))
        best = np.append(through.min(1), 0.0)
    path, i = [], 0
    for choice in reversed(choices):
        j = int(choice[i])
        path.append((i, j))
        i = j
        if i == count:
            break
    return path


def _fixed_point(slope: float) -> tuple[int, int]:
    """``slope`` as ``mul / 2**shift`` with 15 bits and a sign."""
    if slope == 0:
        return 0, 0
    shift = int(np.clip(_SLOPE_BITS - 1 - np.floor(np.log2(abs(slope))), 0, 43))
    most = (1 << _SLOPE_BITS) - 1
    return int(np.clip(np.rint(slope * 2.0**shift), -most, most)), shift
