"""The command that says where a target's error comes from: layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..core.settings import go_offline
from .console import out, print_json, print_table, working
from .options import (
    AlgorithmOption,
    CalibrationCount,
    Int8Flag,
    JsonFlag,
    MixedFlag,
    OfflineFlag,
    TrustFlag,
    quantization_of,
    takes_network,
)

if TYPE_CHECKING:
    from ..export.request import NetworkRequest


@takes_network(samples=True)
def layers(
    request: NetworkRequest,
    to: Annotated[str, typer.Option("--to", help="Targets, comma-separated.")],
    int8: Int8Flag = False,
    algorithm: AlgorithmOption = None,
    calibration: CalibrationCount = 200,
    mixed: MixedFlag = False,
    plot: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--plot", help="A PNG file for the plot."),
    ] = None,
    beside: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--exports",
            help="Folder of exports: layers.json is put beside each, for the command report.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--limit", min=2, help="So many test images.")] = 8,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Say what each layer of a network loses on a target, alone and with all before it."""
    from ..export.layers import analyze_layers, plot_layers
    from ..export.results.layers_file import write_layers

    if offline:
        go_offline()
    with working() as say:
        reports = analyze_layers(
            *(request, to),
            int8=int8,
            count=count,
            quantization=quantization_of(calibration, algorithm, mixed),
            on_step=say,
        )
    if beside:
        for report in reports:
            write_layers(beside, report)
    if plot:
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot_layers(reports, plot)
    if json:
        return print_json([report.to_dict() for report in reports])
    columns = ["module", "operator", "tensor"]
    columns += ["own cosine", "own SQNR dB", "total cosine", "total SQNR dB"]
    for report in reports:
        rows = [
            [r.module or "-", r.op, r.name, f"{r.own_cosine:.5f}", f"{r.own_sqnr_db:.1f}",
             f"{r.cosine:.5f}", f"{r.sqnr_db:.1f}"]
            for r in report.layers
        ]  # fmt: skip
        print_table(f"{report.model} on {report.target} {report.precision}", columns, rows)
    if plot:
        out.print(f"plot: {plot}", soft_wrap=True)
