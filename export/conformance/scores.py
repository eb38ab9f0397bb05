"""How often predictions are right, and the tables of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..results.measured_file import place_of
from .records import Cell

# SQNR that rounding alone can come down to, and from which on nothing is missed. In int8 an answer
# that lost everything is at 0 dB with some noise, one that says something else at -3.
_ROUNDING_DB = {"float32": (75.0, 90.0), "float16": (30.0, 40.0), "int8": (-2.0, 10.0)}
# In a cause: operators on a CPU fail a cell on chips that have none for them.
_REFUSAL = "may refuse"
_MARKS = {"ok": "ok", "failed": "wrong", "error": "error"}


@dataclass(frozen=True)
class Score:
    """Of predictions of one kind: how many cells, and how they came out.

    ``hits`` were predicted and happened, ``false_alarms`` did not happen, ``misses`` were not
    predicted.
    """

    n: int
    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> float | None:
        """The share of predictions that came true; None: nothing was predicted."""
        predicted = self.hits + self.false_alarms
        return self.hits / predicted if predicted else None

    @property
    def recall(self) -> float | None:
        """The share of what happened that was predicted; None: nothing happened."""
        happened = self.hits + self.misses
        return self.hits / happened if happened else None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "precision": self.precision, "recall": self.recall}


def is_lossy(cell: Cell) -> bool:
    """Whether it runs and misses its limit by rounding, as far as one can see.

    That depends on weights and data more than on operators. Wrong answers are below it.
    """
    least, limit = _ROUNDING_DB[cell.precision]
    if cell.real != "failed" or cell.sqnr_db is None or _REFUSAL in cell.cause:
        return False
    return least <= cell.sqnr_db < limit


def error_of(cell: Cell) -> tuple[bool, bool] | None:
    """Whether an error was predicted, and whether there was one; None: that was not found out."""
    if cell.real not in ("ok", "failed", "error") or is_lossy(cell):
        return None
    return cell.predicted == "error", cell.real != "ok"


def fallback_of(cell: Cell) -> tuple[bool, bool] | None:
    """Whether operators on a CPU were predicted, and whether there were any.

    None: that was not found out; or an error was predicted, which is judged as such.
    """
    if cell.cpu_ops is None or cell.predicted == "error":
        return None
    return cell.predicted == "falls back", bool(cell.cpu_ops)


def score_errors(cells: Iterable[Cell]) -> Score:
    """Of the errors that rules predict: refusals, crashes and answers that differ."""
    return _score(map(error_of, cells))


def score_fallbacks(cells: Iterable[Cell]) -> Score:
    """Of the warnings that operators leave the accelerator, where targets say what runs where."""
    return _score(map(fallback_of, cells))


def _score(pairs: Iterable[tuple[bool, bool] | None]) -> Score:
    known = [pair for pair in pairs if pair is not None]
    return Score(
        n=len(known),
        hits=known.count((True, True)),
        false_alarms=known.count((True, False)),
        misses=known.count((False, True)),
    )


def to_markdown(cells: Sequence[Cell]) -> str:
    """The scores of each target, and below them a line a network and a column a target."""
    return "\n".join([*_scores_table(cells), "", *_cells_table(cells)]) + "\n"


def _columns(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    ordered = sorted(cells, key=place_of)
    return list(dict.fromkeys((cell.target, cell.precision) for cell in ordered))


def _scores_table(cells: Sequence[Cell]) -> list[str]:
    head = ["target", "precision", "n", "errors", "precision of errors", "recall of errors"]
    head += ["n", "on CPU", "precision of warnings", "recall of warnings"]
    rows = [
        [f"`{target}`", precision, *_figures([c for c in cells if _is_of(c, target, precision)])]
        for target, precision in _columns(cells)
    ]
    rows.append(["all", "", *_figures(cells)])
    return _table(head, rows, left=2)


def _is_of(cell: Cell, target: str, precision: str) -> bool:
    return (cell.target, cell.precision) == (target, precision)


def _figures(cells: Sequence[Cell]) -> list[str]:
    errors, fallbacks = score_errors(cells), score_fallbacks(cells)
    return [text for score in (errors, fallbacks) for text in _score_cells(score)]


def _score_cells(score: Score) -> list[str]:
    if score.n == 0:
        return [""] * 4
    happened = score.hits + score.misses
    return [str(score.n), str(happened), _share(score.precision), _share(score.recall)]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cells_table(cells: Sequence[Cell]) -> list[str]:
    columns = _columns(cells)
    known = {cell.key: describe_cell(cell) for cell in cells}
    networks = sorted({(cell.network, cell.input_shape) for cell in cells})
    rows = [
        [f"`{name}`", shape, *(known.get((name, shape, *column), "") for column in columns)]
        for name, shape in networks
    ]
    return _table(["network", "input", *(f"{t} {p}" for t, p in columns)], rows, left=2)


def describe_cell(cell: Cell) -> str:
    """``ok``, ``error``, ``wrong``, ``CPU``; bold, with what was predicted, where that differs."""
    said = "lossy" if is_lossy(cell) else _MARKS.get(cell.real, cell.real)
    if cell.real == "ok" and cell.cpu_ops:
        said = "CPU"
    error = _verdict(error_of(cell), "error")
    fallback = _verdict(fallback_of(cell), "CPU") if cell.real in ("ok", "inconclusive") else ""
    differs = error or fallback
    return f"**{said}**, {differs}" if differs else said


def _verdict(pair: tuple[bool, bool] | None, what: str) -> str:
    if pair is None or pair[0] == pair[1]:
        return ""
    return f"predicted: {what}" if pair[0] else f"{what} not predicted"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    line: Callable[[Sequence[str]], str] = lambda row: f"| {' | '.join(row)} |"  # noqa: E731
    ruler = ["---"] * left + ["--:"] * (len(head) - left)
    return [line(head), line(ruler), *map(line, rows)]
