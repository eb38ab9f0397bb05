"""Exports as one HTML file: tables, sample answers, error histograms; no script, no network.

Nothing in it tells the time or the machine, so the files of two runs can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ... import __version__
from ...training.checkpoint import atomic_path
from ..targets import find_target
from ..targets.base import Limits, Precision, Target
from ..tasks import Answer, Sample, Task, get_task
from . import plots

if TYPE_CHECKING:
    from ..prepare import EvalContext
    from ..results.schema import ExportResult

SIGNS = {  # not by colour alone
    "ok": "✓",
    "failed": "✗",
    "inconclusive": "?",
    "error": "⚠",
    "unavailable": "○",
}
_LAYER_COLUMNS = ("name", "op", "target", "macs", "cycles")  # a placement may say more
_PRECISIONS = get_args(Precision)
_NONE = "-"


@dataclass(frozen=True)
class AnswerLine:
    """One place's answers to the samples; ``why`` says why there are none."""

    target: str
    precision: str
    answers: Sequence[Answer | None]
    why: str = ""


@dataclass(frozen=True)
class LimitLine:
    """What exports of one precision must reach; ``targets`` is empty where all share it."""

    precision: str
    words: str
    targets: str


@dataclass(frozen=True)
class Section:
    """All that the report says of one model."""

    context: EvalContext
    rows: Sequence[ExportResult]
    task: Task
    samples: list[Sample]
    lines: list[AnswerLine]
    axis: plots.Axis
    histograms: list[plots.Histogram]


def write_report(
    contexts_and_rows: Sequence[tuple[EvalContext, Sequence[ExportResult]]], path: str | Path
) -> None:
    """Write the report of some exports to ``path``, whole or not at all.

    Args:
        contexts_and_rows: models, each with its rows; rows of any status.
        path: the HTML file.
    """
    every_row = [row for _, rows in contexts_and_rows for row in rows]
    targets = {name: find_target(name) for name in dict.fromkeys(row.target for row in every_row)}
    page = _environment().get_template("report.html")
    html = page.render(
        sections=[_section(context, rows, targets) for context, rows in contexts_and_rows],
        statuses=Counter(row.status for row in every_row),
        total=len(every_row),
        targets=targets,
        limits=_limit_lines(every_row, targets),
        signs=SIGNS,
        layer_columns=_LAYER_COLUMNS,
        versions={"edgeark": __version__, "torch": torch.__version__},
        plot_width=plots.PLOT_WIDTH,
        plot_height=plots.PLOT_HEIGHT,
    )
    with atomic_path(Path(path)) as partial:
        partial.write_text(html, encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "scientific": lambda value: f"{value:.1e}",
        "decibels": _decibels,
        "percent": _percent,
        "score": _score,
        "kib": lambda size: _number(size / 1024, 1),
        "tally": _tally,
    }
    return environment


def _section(
    context: EvalContext, rows: Sequence[ExportResult], targets: dict[str, Target]
) -> Section:
    answered = [row for row in rows if row.outputs]
    task = get_task(context.spec.task)
    shown, answer = task.choose_samples(
        context.spec, context.test, context.reference, [row.outputs for row in answered]
    )

    def line(target: str, precision: str, outputs: Sequence[np.ndarray]) -> AnswerLine:
        return AnswerLine(target, precision, answer(outputs))

    lines = [line("PyTorch", "float32", context.reference)]
    for row in rows:
        if row.outputs:
            lines.append(line(row.target, row.precision, row.outputs))
        else:
            lines.append(AnswerLine(row.target, row.precision, [], f"no answer: {row.status}"))
    axis, histograms = plots.error_histograms(
        [
            (
                row.target,
                row.precision,
                plots.absolute_errors(context.reference, row.outputs),
                targets[row.target].limits(row.precision).max_abs_error,
            )
            for row in answered
        ]
    )
    return Section(context, rows, task, shown, lines, axis, histograms)


def _limit_lines(rows: Sequence[ExportResult], targets: dict[str, Target]) -> list[LimitLine]:
    """The limits in force: read from the targets, so that the text cannot be out of date."""
    users: dict[tuple[str, Limits], dict[str, None]] = {}
    for row in rows:
        limits = targets[row.target].limits(row.precision)
        users.setdefault((row.precision, limits), {})[row.target] = None
    shared = Counter(precision for precision, _ in users)
    return [
        LimitLine(
            precision, _limit_words(limits), "" if shared[precision] == 1 else ", ".join(names)
        )
        for (precision, limits), names in sorted(
            users.items(), key=lambda item: _PRECISIONS.index(item[0][0])
        )
    ]


def _limit_words(limits: Limits) -> str:
    parts = []
    if limits.max_abs_error is not None:
        parts.append(f"max abs error at most {limits.max_abs_error:.0e}")
    if limits.sqnr_db is not None:
        parts.append(f"SQNR at least {limits.sqnr_db:.0f} dB")
    if limits.metric_drop is not None:
        parts.append(f"accuracy at most {100 * limits.metric_drop:.2f} points below PyTorch's")
    return ", ".join(parts) or "none"


def _number(value: float | str | None, digits: int = 0) -> str:
    """Thousands grouped; a toolchain's word for a number as it is."""
    if value is None or isinstance(value, str):
        return value or _NONE
    return f"{value:,.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def _decibels(value: float) -> str:
    return "equal" if value >= 200 else f"{value:.1f}"


def _score(probability: float) -> str:
    """Three decimals, and never 1.000 for what is less."""
    return ">0.999" if 0.9995 <= probability < 1 else f"{probability:.3f}"


def _tally(names: Sequence[str]) -> str:
    """``Softmax x2, Resize``; ``none`` for none."""
    counts = Counter(names)
    return ", ".join(f"{n} x{c}" if c > 1 else n for n, c in counts.items()) or "none"
