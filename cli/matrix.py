"""The command that measures the zoo on its targets: matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import err, out, print_json
from .options import (
    JobsOption,
    JsonFlag,
    LimitOption,
    OfflineFlag,
    RayOption,
    TargetNames,
    takes_network,
)
from .progress import row_progress
from .tables import print_rows

if TYPE_CHECKING:
    from ..core.tasks import Runner
    from ..export.matrix import Measured
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
    ray: RayOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Measure only what the file lacks of these weights, images and versions.",
        ),
    ] = False,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Export networks to targets, float and int8, and record the figures in a file of results.

    A cell is a network on a target. The file is written after each: a matrix that was killed goes
    on with --resume.
    """
    runner = None if ray is None else _runner_on(ray, jobs)
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
    with row_progress() as progress:
        ended = measure(
            *([replace(request, network=name) for name in names], to, path),
            limit=limit,
            jobs=jobs,
            resume=resume,
            runner=runner,
            on_step=progress.step,
            on_row=progress.row,
        )
    _say_end(ended, path, resume)
    if ended.interrupted:
        if not json:
            print_rows("measured", ended.rows)
        raise KeyboardInterrupt
    if json:
        print_json([row.to_dict() for row in ended.rows])
    else:
        print_rows("measured", ended.rows)
    if ended.faults:
        raise EdgearkError("; ".join(ended.faults))
    is_well = all(row.status == "ok" for row in [*ended.rows, *ended.kept]) and not ended.lost
    raise typer.Exit(0 if is_well else 1)


def _runner_on(address: str, jobs: int) -> Runner:
    from ..core.ray_tasks import Needs, ray_runner
    from ..export.toolchains.memory import JOB_BYTES

    if jobs != 1:
        raise EdgearkError("--jobs is for this machine: with --ray the cluster decides")
    return ray_runner(address, Needs(memory_bytes=JOB_BYTES))


def _say_end(ended: Measured, path: Path, resume: bool) -> None:
    """What was kept, what is not there, and how to go on."""
    lines = [f"not measured: {line}; try again with --resume" for line in ended.lost]
    if resume:
        cells = len({(result.model, result.target) for result in ended.kept})
        lines.insert(0, f"kept {cells} cells of {path}, measured {ended.cells}")
    if ended.interrupted:
        lines.append(
            f"interrupted: {ended.cells} of {ended.planned} cells were measured and are in {path}; "
            "go on with the same command and --resume"
        )
    for line in lines:
        err.print(line, soft_wrap=True, highlight=False, markup=False)
