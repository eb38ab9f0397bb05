"""Exports as one HTML file: conclusions, tables, sample answers, error histograms; no network.

Without ``made`` nothing in it tells the time or the machine, and it has no script: the files of two
runs can be compared.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args
from urllib.parse import quote

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ... import __version__
from ...training.checkpoint import atomic_path
from ..targets import find_target
from ..targets.base import Limits, Precision, Target
from ..tasks import differences
from . import conclusion, plots
from .conclusion import conclude, draw_trade_offs
from .sections import Section, section_of_context, sections_of_exports

if TYPE_CHECKING:
    from ..prepare import EvalContext
    from ..results.schema import ExportResult
    from ..verify import Reopened

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
_COLORS = {"alone": differences.ALONE, "missed": differences.MISSED, "other": differences.OTHER}


@dataclass(frozen=True)
class LimitLine:
    """What exports of one precision must reach; ``targets`` is empty where all share it."""

    precision: str
    words: str
    targets: str


def write_report(
    contexts_and_rows: Sequence[tuple[EvalContext, Sequence[ExportResult]]],
    path: str | Path,
    made: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the report of some exports to ``path``, whole or not at all.

    Args:
        contexts_and_rows: models, each with its rows; rows of any status.
        path: the HTML file.
        made: how, when and where, by what it is; with it the rows can be sorted and filtered.
    """
    targets = _targets(row.target for _, rows in contexts_and_rows for row in rows)
    sections = [section_of_context(context, rows, targets) for context, rows in contexts_and_rows]
    _write(sections, targets, path, made)


def write_exports_report(
    exports: Sequence[Reopened],
    path: str | Path,
    made: Mapping[str, str] = MappingProxyType({}),
    *,
    measure: bool = False,
) -> list[ExportResult]:
    """The same of exports that are there; see :func:`.sections.sections_of_exports`."""
    targets = _targets(export.manifest.target for export in exports)
    sections = sections_of_exports(exports, targets, measure=measure)
    _write(sections, targets, path, made)
    return [row for section in sections for row in section.rows]


def made_by(command: str) -> dict[str, str]:
    """The command that makes a report, when, and on what machine."""
    return {
        "command": command,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}",
    }


def _targets(names: Iterable[str]) -> dict[str, Target]:
    return {name: find_target(name) for name in dict.fromkeys(names)}


def _write(
    sections: Sequence[Section],
    targets: dict[str, Target],
    path: str | Path,
    made: Mapping[str, str],
) -> None:
    every_row = [row for section in sections for row in section.rows]
    environment = _environment()
    environment.filters["link"] = partial(_link, home=Path(path).resolve().parent)
    page = environment.get_template("report.html")
    html = page.render(
        sections=sections,
        conclusions={section.name: conclude(section.rows) for section in sections},
        pictures={section.name: draw_trade_offs(section.rows) for section in sections},
        picture_size=(conclusion.WIDTH, conclusion.HEIGHT),
        made=made,
        statuses=Counter(row.status for row in every_row),
        total=len(every_row),
        targets=targets,
        limits=_limit_lines(every_row, targets),
        signs=SIGNS,
        colors={name: f"rgb{rgb}" for name, rgb in _COLORS.items()},
        layer_columns=_LAYER_COLUMNS,
        versions={"edgeark": __version__, "torch": torch.__version__},
        plot_width=plots.PLOT_WIDTH,
        plot_height=plots.PLOT_HEIGHT,
    )
    with atomic_path(Path(path)) as staged:
        staged.write_text(html, encoding="utf-8")


def _link(artifact: Path | None, home: Path) -> str:
    """The folder of an export, relative to the report's; '' where there is none."""
    if artifact is None or not artifact.exists():
        return ""
    try:
        return quote(Path(os.path.relpath(artifact.resolve().parent, home)).as_posix())
    except ValueError:  # on another drive
        return ""


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
