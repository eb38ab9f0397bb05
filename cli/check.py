"""Commands about the user's own network: check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .console import out, print_json
from .options import InputShapeOption, JsonFlag
from .tables import print_findings, print_rules


def check(
    network: Annotated[
        Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Argument(help="MODULE:FACTORY, as my_net.py:MyNet; or a model of the zoo."),
    ] = None,
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", help="Comma-separated targets. --list-rules: all, if left out."),
    ] = None,
    size: InputShapeOption = None,
    list_rules: Annotated[
        bool, typer.Option("--list-rules", help="List the rules instead, with examples.")
    ] = False,
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="With --list-rules: a folder for a page of docs a target."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Say what of a network a target cannot do, where it stands and what to write instead."""
    from ..export.check import check_model, load_subject
    from ..export.targets import find_targets

    if list_rules:
        _list_rules(to, out_dir, json)
        return
    if network is None or to is None:
        raise typer.BadParameter("name a network and --to TARGETS, or say --list-rules")
    if out_dir is not None:
        raise typer.BadParameter("--out goes with --list-rules")
    targets = find_targets(to)
    findings = check_model(*load_subject(network, size), targets)
    if json:
        print_json([finding.to_dict() for finding in findings])
    elif findings:
        print_findings(network, findings)
    else:
        out.print(f"{network}: nothing found for {', '.join(t.full_name for t in targets)}")
    raise typer.Exit(1 if any(f.severity == "error" for f in findings) else 0)


def _list_rules(to: str | None, out_dir: Path | None, json: bool) -> None:
    from ..export.list_rules import list_rules, write_pages
    from ..export.targets import every_target, find_targets

    rules = list_rules(every_target() if to is None else find_targets(to))
    written = [] if out_dir is None else write_pages(rules, out_dir)
    if json:
        print_json([rule.to_dict() for rule in rules])
    elif out_dir is not None:
        out.print(f"{len(rules)} rules on {len(written)} pages in {out_dir}")
    else:
        print_rules(rules)
