"""Commands about the user's own network: rewrite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .console import out as stdout
from .console import print_json, print_table
from .options import JsonFlag, TargetNames


def rewrite(
    network: Annotated[
        str, typer.Argument(help="MODULE:FACTORY, as my_net.py:MyNet; or a model of the zoo.")
    ],
    to: TargetNames,
    size: Annotated[
        Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--input", help="Channels, height and width of its input, as 3x224x224."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="A new folder for network.py and weights.safetensors."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Mend what a target cannot do where something else is equal, and prove that it is."""
    from ..export.lint.subject import load_subject
    from ..export.rewrite import rewrite as rewrite_network
    from ..export.rewrite import write_network
    from ..export.targets import find_targets

    targets = find_targets(to)
    done = rewrite_network(*load_subject(network, size), targets)
    if out is not None:
        write_network(done, out)
    if json:
        print_json(
            {
                "changes": [change.to_dict() for change in done.changes],
                "left": [finding.to_dict() for finding in done.left],
                "max_abs_error": done.max_abs_error,
                "out": None if out is None else str(out),
            }
        )
    else:
        rows = [[c.module or "-", c.source, c.done, c.rule] for c in done.changes]
        if rows:
            print_table(f"{network}: changed", ["module", "source", "done", "rule"], rows)
        left = [
            [f.target, f.severity, f.module or "-", f.source, f.reason, f.fix, f.rule]
            for f in done.left
        ]
        if left:
            columns = ["target", "severity", "module", "source", "reason", "what to do", "rule"]
            print_table(f"{network}: left to you", columns, left)
        stdout.print(
            f"{len(rows)} changed, {len(left)} left; max. error {done.max_abs_error:.2g} against "
            f"the original in PyTorch{'' if out is None else f'; written to {out}'}",
            highlight=False,
            markup=False,
        )
    raise typer.Exit(1 if any(f.severity == "error" for f in done.left) else 0)
