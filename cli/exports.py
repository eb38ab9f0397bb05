"""Commands that convert, measure and report: export, eval, report, demo."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import err, out, print_json, working
from .options import (
    AlgorithmOption,
    CalibrationCount,
    DataDir,
    Int8Flag,
    JobsOption,
    JsonFlag,
    LimitOption,
    MixedFlag,
    OfflineFlag,
    RewriteFlag,
    TargetNames,
    ToolOption,
    TrustFlag,
    quantization_of,
    takes_network,
)
from .progress import row_progress
from .tables import print_rows

if TYPE_CHECKING:
    from ..export.prepare import EvalContext
    from ..export.request import NetworkRequest
    from ..export.results.schema import ExportResult

PASSED = ("ok", "inconclusive")


@takes_network(samples=True)
def evaluate(
    request: NetworkRequest,
    to: Annotated[str, typer.Option("--to", help="Targets, comma-separated; also pytorch.")] = (
        "pytorch"
    ),
    int8: Int8Flag = False,
    limit: LimitOption = None,
    jobs: JobsOption = 1,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Measure a network in PyTorch or on targets, on its test data, --images or noise."""
    from ..export.evaluate import evaluate_model

    if offline:
        go_offline()
    with row_progress() as progress:
        told = {"on_step": progress.step, "on_row": progress.row}
        rows = evaluate_model(request, to, int8=int8, limit=limit, jobs=jobs, **told)
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        print_rows("evaluation", rows, details=True)
    raise typer.Exit(0 if all(row.status in PASSED for row in rows) else 1)


@takes_network(samples=True)
def export(
    request: NetworkRequest,
    to: TargetNames,
    int8: Int8Flag = False,
    rewrite: RewriteFlag = False,
    algorithm: AlgorithmOption = None,
    calibration: CalibrationCount = 200,
    mixed: MixedFlag = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the exports.")] = Path(
        "exports"
    ),
    report: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--report", help="An HTML file about all of them: see the command report."),
    ] = None,
    limit: LimitOption = None,
    tool: ToolOption = None,
    jobs: JobsOption = 1,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Convert a network, run it on each target and compare it with PyTorch.

    A model of the zoo is measured on its own data set. A network of yours is compared on
    --images, or on noise.
    """
    from ..export.pipeline import export_request
    from ..export.targets.tools import parse_tools

    def write(context: EvalContext, rows: list[ExportResult]) -> None:
        from ..export.report import made_by, write_report

        if report is not None:
            write_report([(context, rows)], report, made_by(_command_line()))

    if offline:
        go_offline()
    if report is not None:
        _require_html(report)
    with row_progress() as progress:
        rows = export_request(
            *(request, to),
            int8=int8,
            out=out_dir,
            rewrite=rewrite,
            limit=limit,
            quantization=quantization_of(calibration, algorithm, mixed),
            tools=parse_tools(tool or ()),
            jobs=jobs,
            on_step=progress.step,
            on_row=progress.row,
            on_done=write,
        )
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        print_rows("exports", rows)
        if report is not None:
            out.print(f"report: {report}", soft_wrap=True)
    raise typer.Exit(0 if all(row.status in PASSED for row in rows) else 1)


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Exports, or folders with exports below them.")
    ],
    file: Annotated[Path, typer.Option("--out", help="The HTML file.")] = Path("report.html"),
    measure: Annotated[
        bool, typer.Option("--measure", help="Run each on its golden inputs, for the times.")
    ] = False,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Write one HTML file about exports: what they come to, figures, sample answers, errors."""
    from ..export.report import made_by, write_exports_report
    from ..export.verify import find_exports

    if offline:
        go_offline()
    _require_html(file)
    exports = [export for folder in folders for export in find_exports(folder)]
    with working() as say:
        say(f"report of {len(exports)} exports")
        rows = write_exports_report(exports, file, made_by(_command_line()), measure=measure)
    if json:
        print_json({"report": str(file), "rows": [row.to_dict() for row in rows]})
    else:
        out.print(f"report: {file}", soft_wrap=True)


def _require_html(file: Path) -> None:
    if file.suffix.lower() not in (".html", ".htm") or file.is_dir():
        raise EdgearkError(f"a report is an .html file, not {file}")


def _command_line() -> str:
    return shlex.join(["edgeark", *sys.argv[1:]])


def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the demo.")] = Path("demo"),
    data: DataDir = None,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Export both digit networks to six targets, prove each, and write a report with images."""
    from ..export.demo import announce, run_demo

    if offline:
        go_offline()
    for line in announce(data):
        err.print(line, highlight=False, soft_wrap=True)
    with working() as say:
        result = run_demo(out_dir, data=data, limit=limit, on_step=say)
    if json:
        print_json({"rows": [r.to_dict() for r in result.rows], "report": str(result.report)})
    else:
        print_rows("demo", result.rows)
        out.print(f"report: {result.report}", soft_wrap=True)
    raise typer.Exit(0 if all(r.status in ("ok", "unavailable") for r in result.rows) else 1)
