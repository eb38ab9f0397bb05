"""The command that measures the zoo on its targets: matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..core.settings import go_offline
from .console import out, print_json, working
from .options import (
    JobsOption,
    JsonFlag,
    LimitOption,
    OfflineFlag,
    TargetNames,
    takes_network,
)
from .tables import print_rows

if TYPE_CHECKING:
    from ..export.request import NetworkRequest


@takes_network(samples=True, named=None)
def matrix(
    request: NetworkRequest,
    models: Annotated[
        Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option(
            help="Networks, comma-separated, named as for export. Default: the zoo's trained ones."
        ),
    ] = None,
    to: TargetNames = "all",
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The file of results. Default: weights/results.toml of edgeark."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print what the file says, as Markdown; measure nothing.")
    ] = False,
    limit: LimitOption = None,
    jobs: JobsOption = 1,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Export networks to targets, float and int8, and record the figures in a file of results."""
    from ..export.matrix import RESULTS, measure, read_results, to_markdown
    from ..zoo.registry import list_models

    path = file or RESULTS
    if show:
        results = read_results(path)
        names = models.split(",") if models else list(dict.fromkeys(r.model for r in results))
        if json:
            chosen = [r for r in results if r.model in names]
            return print_json([r.model_dump(mode="json") for r in chosen])
        return out.print(to_markdown(results, names), markup=False, soft_wrap=True, end="")
    if offline:
        go_offline()
    names = models.split(",") if models else list_models(pretrained=True)
    with working() as say:
        rows = measure(
            *([replace(request, network=name) for name in names], to, path),
            limit=limit,
            jobs=jobs,
            on_step=say,
        )
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        print_rows("measured", rows)
    raise typer.Exit(0 if all(row.status == "ok" for row in rows) else 1)
