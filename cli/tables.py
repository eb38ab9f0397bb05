"""What the command line prints where no JSON is asked for."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.messages import format_shape
from .console import err, out, print_table

if TYPE_CHECKING:
    from ..export.check import Verdict
    from ..export.lint import Finding
    from ..export.list_rules import ListedRule
    from ..export.results.schema import ExportResult, Metric
    from ..export.targets.base import Placement

_WIDE = 110  # columns of a terminal that holds every column of an export
_READABLE = 80  # columns of running text
_LISTED = 12  # names that a table lists


def print_model(document: Mapping[str, Any]) -> None:
    """The facts of a model, its layers, and the feature maps of its encoder."""
    hidden = ("layers", "stages", "name", "arguments", "strides", "anchors", "trained")
    facts = {key: value for key, value in document.items() if key not in hidden}
    facts |= {f"trained: {key}": value for key, value in document["trained"].items()}
    rows = [[key, _listed(value)] for key, value in facts.items()]
    print_table(
        document["name"], ["what", "value"], [row for row in rows if row[1] not in ("", None)]
    )
    layers = [
        [
            layer["name"],
            layer["kind"],
            format_shape(layer["shape"]),
            layer["parameters"],
            layer["macs"],
        ]
        for layer in document["layers"]
    ]
    print_table("layers", ["module", "kind", "output", "parameters", "MACs"], layers)
    stages = [
        [stage["index"], stage["channels"], stage["reduction"], format_shape(stage["shape"])]
        for stage in document["stages"]
    ]
    if stages:
        columns = ["index", "channels", "reduction", "output"]
        print_table("feature maps for create_backbone", columns, stages)


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """What rules found, one below the other: where, why, and what to do."""
    width = min(out.width, _READABLE)
    for target in dict.fromkeys(f.target for f in findings):
        _say(f"{title} on {target}", bold=True)
        for f in findings:
            if f.target == target:
                places = [place for place in (f.module, f.source) if place]
                _say(f"{f.severity} [{f.rule}] {'  '.join(places)}".rstrip())
                for text in (f.reason, f"-> {f.fix}"):
                    _say(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  "))
        _say("")


def print_verdicts(title: str, verdicts: Sequence[Verdict]) -> None:
    """A line for every target."""
    _say(title, bold=True)
    longest = max((len(v.target) for v in verdicts), default=0)
    for verdict in verdicts:
        _say(f"  {verdict.target:<{longest}}  {verdict.describe()}")


def _say(text: str, bold: bool = False) -> None:
    style = "bold" if bold else None
    out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_rules(rules: Sequence[ListedRule]) -> None:
    """Every rule, a line each; examples are in the JSON and in the pages of docs."""
    rows = [
        [_listed(rule.targets), rule.name, rule.severity, rule.reason, rule.fix] for rule in rules
    ]
    print_table("rules", ["targets", "rule", "severity", "reason", "what to do"], rows)


def print_rows(title: str, rows: Sequence[ExportResult], details: bool = False) -> None:
    """The rows of exports, a table a model; the last columns are for wide terminals alone.

    With ``details`` the metric's further figures follow, a line a row.
    """
    columns = ["target", "precision", "status", "evidence", "max abs", "SQNR dB"]
    columns += ["PyTorch > target"]
    extra = ["n", "on NPU", "KiB", "ms"]
    wide = out.width >= _WIDE
    for model in dict.fromkeys(row.model for row in rows):
        table = [
            [*_row_cells(row), *(_extra_cells(row) if wide else ())]
            for row in rows
            if row.model == model
        ]
        print_table(f"{title}: {model}", [*columns, *(extra if wide else ())], table)
    for row in rows:
        if row.placement and row.placement.memory:
            out.print(f"{row.model} {row.target}: {_budget(row.placement)}", soft_wrap=True)
        if details and row.metric and row.metric.details:
            out.print(f"{row.model} {row.target} {row.precision}: {_figures(row.metric)}")
        if row.message:
            err.print(f"{row.model} {row.target} {row.precision}: {row.message}", soft_wrap=True)


def formatted(value: float | None, form: str) -> str | None:
    """A figure in a format of :func:`format`; None where nothing was measured."""
    return None if value is None else format(value, form)


def _row_cells(row: ExportResult) -> list[Any]:
    metric = row.metric
    return [
        row.target,
        row.precision,
        row.status,
        row.evidence,
        formatted(row.max_abs_error, ".1e"),
        formatted(row.sqnr_db, ".1f"),
        metric and f"{100 * metric.float:.2f} > {100 * metric.value:.2f} %",
    ]


def _extra_cells(row: ExportResult) -> list[Any]:
    return [
        row.metric and row.metric.n,
        _share(row.placement),
        row.size_bytes and round(row.size_bytes / 1024),
        row.run_ms and f"{row.run_ms:.2f}",
    ]


def _share(placement: Placement | None) -> str | None:
    """Of the multiplications that are the NPU's; None where there is none."""
    share = placement and placement.npu_mac_fraction
    return None if share is None else f"{100 * share:.0f} %"


def _of_limit(limit: int | None) -> str:
    return "" if limit is None else f"of {limit / 1024:,.0f} "


def _figures(metric: Metric) -> str:
    """The further figures of the target, not of PyTorch."""
    return ", ".join(f"{k} {100 * v.value:.2f} %" for k, v in metric.details.items())


def _budget(placement: Placement) -> str:
    """What memory is taken, and how long an image should take."""
    parts = [
        f"{name} {have['used'] / 1024:,.0f} {_of_limit(have.get('limit'))}KiB"
        for name, have in placement.memory.items()
    ]
    if placement.estimated_ms is not None:
        parts.append(f"about {placement.estimated_ms:.1f} ms an image (estimate)")
    return "; ".join(parts)


def _listed(value: Any) -> Any:
    """A sequence by its items; of a long one, the first and how many there are."""
    if not isinstance(value, tuple):
        return value
    shown = ", ".join(map(str, value[:_LISTED]))
    return f"{shown} ... ({len(value)})" if len(value) > _LISTED else shown
