"""The command that holds predictions against reality: conformance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import out, print_json, print_table, working
from .options import Int8Flag, JsonFlag, LimitOption, OfflineFlag, TargetNames, takes_network

if TYPE_CHECKING:
    from ..export.conformance import Cell
    from ..export.request import NetworkRequest

NetworkNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORKS...",
        help="Networks, named as for export; or lists of them, FILE.toml: [[network]] tables with "
        "name and input_shape.",
    ),
]


@takes_network(samples=True, named=None)
def conformance(
    request: NetworkRequest,
    networks: NetworkNames = (),  # type: ignore[assignment]
    to: TargetNames = "all",
    int8: Int8Flag = False,
    file: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option(help="The file of results. Default: weights/conformance.toml of edgeark."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print what the file says, as Markdown; measure nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Convert again what the file has already.")
    ] = False,
    predict: Annotated[
        bool,
        typer.Option("--predict", help="Convert nothing: ask the rules again about what it has."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for each conversion with its run.")
    ] = 900,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Hold what check says of networks against what their real conversions and runs come to.

    Each network on each target is a cell of the file of results: what was predicted and by which
    rules, what happened and why. The engines are asked whatever the rules say. A run that was
    killed goes on where it was. Precision and recall of errors, and of operators that leave the
    accelerator, come last.
    """
    from ..export.conformance import RESULTS, measure, read_cells, read_requests, to_markdown

    path = file or RESULTS
    if show:
        cells = read_cells(path)
        if json:
            return print_json(_document(cells))
        return out.print(to_markdown(cells), markup=False, soft_wrap=True, end="")
    if not networks:
        raise EdgearkError("name networks, or a list of them: edgeark conformance my_nets.toml")
    if offline:
        go_offline()
    requests = read_requests(networks, request)
    with working() as say:
        found = measure(
            requests,
            to,
            path,
            int8=int8,
            again=again,
            predict_only=predict,
            limit=limit,
            timeout=timeout,
            on_step=say,
        )
    if json:
        print_json(_document(found.cells))
    else:
        _print_cells(found.cells)
    if found.unopened:
        raise EdgearkError("; ".join(found.unopened))
    return None


def _document(cells: Sequence[Cell]) -> dict[str, object]:
    from ..export.conformance import score_errors, score_fallbacks

    return {
        "cells": [cell.to_dict() for cell in cells],
        "errors": score_errors(cells).to_dict(),
        "fallbacks": score_fallbacks(cells).to_dict(),
    }


def _print_cells(cells: Sequence[Cell]) -> None:
    from ..export.conformance import score_errors, score_fallbacks

    columns = ["network", "target", "precision", "predicted", "real", "SQNR dB", "cause"]
    rows = [
        [
            *(cell.network, cell.target, cell.precision),
            ", ".join([cell.predicted, *cell.error_rules, *cell.fallback_rules]),
            cell.real if not cell.cpu_ops else f"{cell.real}, on CPU: {', '.join(cell.cpu_ops)}",
            *(cell.sqnr_db, cell.cause),
        ]
        for cell in cells
    ]
    print_table("prediction and reality", columns, rows)
    scores = {"errors": score_errors(cells), "operators on a CPU": score_fallbacks(cells)}
    rows = [
        [what, s.n, s.hits + s.misses, s.hits, s.misses, s.false_alarms, s.precision, s.recall]
        for what, s in scores.items()
    ]
    columns = ["", "n", "happened", "foreseen", "missed", "false alarms", "precision", "recall"]
    print_table("check was right", columns, rows)
