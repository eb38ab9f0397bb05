"""What a set of exports comes to: sentences, and a picture of accuracy against time or size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..results.schema import ExportResult

WIDTH, HEIGHT = 420.0, 200.0  # of the picture, in the units of the drawing
_LETTER, _LINE = 7.8, 13.0  # of the names in it, as large as they are on a phone
_DOT = 5.0  # a point's radius, and a little
_PASSED = ("ok", "inconclusive")
_RAN = ("executed", "on device")  # a simulator's time says nothing of the chip's


@dataclass(frozen=True)
class Point:
    """An export in the picture.

    Its name begins or ends (``anchor`` is ``start`` or ``end``) at ``name_x``, ``name_y``.
    """

    x: float
    y: float
    name: str
    status: str
    title: str
    name_x: float
    name_y: float
    anchor: str


@dataclass(frozen=True)
class Picture:
    """Accuracy upwards, time or size (logarithmic) to the right."""

    points: list[Point]
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def conclude(rows: Sequence[ExportResult]) -> list[str]:
    """The sentences, the most telling first."""
    passed = [row for row in rows if row.status in _PASSED]
    found = [
        _best("Fastest here", passed, _time_of, lambda ms: f"{ms:.2f} ms an input"),
        _best("Smallest", passed, lambda row: row.size_bytes, lambda n: f"{n / 1024:,.0f} KiB"),
        *_int8_losses(rows),
    ]
    for row in passed:
        if row.placement is not None and row.placement.cpu_ops:
            counts = Counter(row.placement.cpu_ops)
            names = ", ".join(f"{n} x{c}" if c > 1 else n for n, c in counts.items())
            share = row.placement.npu_mac_fraction
            words = "" if share is None else f"; {100 * share:.1f} % of the MACs on the NPU"
            found.append(f"{_name(row)}: on the CPU {names}{words}.")
    for row in rows:
        if row.status not in _PASSED:
            reason = f": {row.message}" if row.message else ""
            found.append(f"{_name(row)} is {row.status}{reason}.")
    return [sentence for sentence in found if sentence]


def draw_trade_offs(rows: Sequence[ExportResult]) -> Picture | None:
    """The exports that have a figure on both axes; None where fewer than two have."""
    measured = any(row.metric is not None for row in rows)
    timed = sum(_time_of(row) is not None for row in rows) > 1

    def value(row: ExportResult) -> float | None:
        if not measured:
            return row.sqnr_db
        return None if row.metric is None else 100 * row.metric.value

    def cost(row: ExportResult) -> float | None:
        size = None if not row.size_bytes else row.size_bytes / 1024
        return _time_of(row) if timed else size

    pairs = [(row, cost(row), value(row)) for row in rows]
    known = [(row, x, y) for row, x, y in pairs if x is not None and y is not None and x > 0]
    if len(known) < 2:
        return None
    title = next((row.metric.name for row in rows if row.metric is not None), "")
    unit = "ms an input" if timed else "KiB"
    xs, ys = [math.log10(x) for _, x, _ in known], [y for _, _, y in known]
    place_x, place_y = _scale(xs, WIDTH), _scale(ys, HEIGHT)
    y_unit = " %" if measured else " dB"
    points: list[Point] = []
    places = [(place_x(math.log10(x)), HEIGHT - place_y(y), row, x, y) for row, x, y in known]
    taken = [(px - _DOT, px + _DOT, py + 3) for px, py, *_ in places]
    for px, py, row, x, y in sorted(places, key=lambda place: place[0]):
        name_x, name_y, anchor = _place_name(_name(row), px, py, taken)
        words = f"{_name(row)}: {x:.4g} {unit}, {y:.2f}{y_unit}"
        points.append(Point(px, py, _name(row), row.status, words, name_x, name_y, anchor))
    return Picture(
        points,
        x_title=("time, " if timed else "size, ") + unit,
        y_title=f"{title}, %" if measured else "SQNR, dB",
        x_ticks=[(place_x(x), f"{10**x:.3g}") for x in _ticks(xs)],
        y_ticks=[(HEIGHT - place_y(y), f"{y:.4g}") for y in _ticks(ys)],
    )


def _best(
    word: str,
    rows: Sequence[ExportResult],
    figure: Callable[[ExportResult], float | None],
    words: Callable[[float], str],
) -> str:
    known = [(figure(row), row) for row in rows]
    values = [(value, row) for value, row in known if value]
    if not values:
        return ""
    value, row = min(values, key=lambda pair: pair[0])
    return f"{word}: {_name(row)}, {words(value)}{_accuracy(row)}."


def _int8_losses(rows: Sequence[ExportResult]) -> list[str]:
    lost = [
        (100 * (row.metric.float - row.metric.value), row)
        for row in rows
        if row.precision == "int8" and row.metric is not None
    ]
    if not lost:
        return []
    worst, row = max(lost, key=lambda pair: pair[0])
    name = row.metric.name if row.metric is not None else ""
    if worst < 0.005:
        return [f"int8 loses nothing of {name}."]
    if len(lost) == 1:
        return [f"int8 on {row.target} loses {worst:.2f} points of {name}."]
    return [f"int8 loses at most {worst:.2f} points of {name}, on {row.target}."]


def _accuracy(row: ExportResult) -> str:
    if row.metric is not None:
        found, wanted = 100 * row.metric.value, 100 * row.metric.float
        return f", {row.metric.name} {found:.2f} % (PyTorch {wanted:.2f} %)"
    return "" if row.sqnr_db is None else f", {row.sqnr_db:.0f} dB"


def _time_of(row: ExportResult) -> float | None:
    return row.run_ms if (row.evidence or "").startswith(_RAN) else None


def _name(row: ExportResult) -> str:
    return f"{row.target} {row.precision}"


def _place_name(
    name: str, x: float, y: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float, str]:
    """Beside a point, as near as the points and names that stand there let it.

    ``taken`` holds left, right and height of those; the new name is added.
    """
    length = _LETTER * len(name)
    sides = [(x + 7, x + 7, "start"), (x - 7, x - 7 - length, "end")]
    sides = [side for side in sides if side[1] >= 0 and side[1] + length <= WIDTH] or sides[:1]
    steps = [_LINE * (step // 2) * (-1 if step % 2 else 1) for step in range(1, 40)]
    heights = [y + 3 + step for step in steps if 0 < y + 3 + step < HEIGHT]
    tries = [(height, *side) for height in heights for side in sides]
    height, at, start, anchor = next(
        (
            each
            for each in tries
            if all(
                each[2] + length < a or each[2] > b or abs(each[0] - h) >= _LINE
                for a, b, h in taken
            )
        ),
        tries[0],
    )
    taken.append((start, start + length, height))
    return at, round(height, 2), anchor


def _scale(values: Sequence[float], length: float) -> Callable[[float], float]:
    """From values to places, with a margin of a tenth; one value lies in the middle."""
    low, high = min(values), max(values)
    if low == high:
        return lambda value: length / 2
    return lambda value: round(length * (0.1 + 0.8 * (value - low) / (high - low)), 2)


def _ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [low] if low == high else [low, (low + high) / 2, high]
