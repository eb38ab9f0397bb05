"""Commands about the user's own network: check."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from .console import out, print_json, print_table
from .options import JsonFlag, TargetNames


def check(
    network: Annotated[
        str, typer.Argument(help="MODULE:FACTORY, as my_net.py:MyNet; or a model of the zoo.")
    ],
    to: TargetNames,
    size: Annotated[
        Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--input", help="Channels, height and width of its input, as 3x224x224."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Say what of a network a target cannot do, where it stands and what to write instead."""
    from ..export.lint.subject import check_model, load_subject
    from ..export.targets import find_targets

    targets = find_targets(to)
    findings = check_model(*load_subject(network, size), targets)
    if json:
        print_json([finding.to_dict() for finding in findings])
    elif findings:
        rows = [
            [f.target, f.severity, f.module or "-", f.source, f.reason, f.fix, f.rule]
            for f in findings
        ]
        columns = ["target", "severity", "module", "source", "reason", "what to do", "rule"]
        print_table(network, columns, rows)
    else:
        out.print(f"{network}: nothing found for {', '.join(t.full_name for t in targets)}")
    raise typer.Exit(1 if any(f.severity == "error" for f in findings) else 0)
