"""``edgeark check``: lint a network for targets, or list the rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..errors import EdgearkError
from .console import out, print_json
from .options import JsonFlag, TargetNames, TrustFlag, takes_network
from .tables import print_findings, print_rules, print_verdicts

if TYPE_CHECKING:
    from ..export.request import NetworkRequest


@takes_network(default="")
def check(
    request: NetworkRequest,
    to: TargetNames = "",
    list_rules: Annotated[
        bool,
        typer.Option("--list-rules", help="List the rules of --to, or of all targets, instead."),
    ] = False,
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--out", help="With --list-rules: a folder for a page of docs a target."),
    ] = None,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Lint a network for targets: operators that they lack or compute otherwise, and what to do.

    Each finding names the module, the source line, the reason and a fix. A verdict for every
    target comes last: fits, fits after rewrite, falls back (how many operators, and their share of
    the multiplications) or does not fit.
    """
    network = str(request.network)
    if list_rules:
        if network:
            raise EdgearkError("--list-rules takes no network")
        _list_rules(to, out_dir, json)
        return
    if out_dir is not None:
        raise EdgearkError("--out goes with --list-rules")
    if not network or not to:
        raise EdgearkError("name a network and its targets: edgeark check my_net.py:Net --to mnn")
    from ..export.check import check_source, judge_source
    from ..export.targets import find_targets

    targets = find_targets(to)  # a mistyped name is said before the network is made
    source = request.source
    if json:
        findings = check_source(source, targets)
        print_json([finding.to_dict() for finding in findings])
    else:
        findings, verdicts = judge_source(source, targets)
        print_findings(network, findings)
        print_verdicts(network, verdicts)
    raise typer.Exit(1 if any(f.severity == "error" for f in findings) else 0)


def _list_rules(to: str, out_dir: Path | None, json: bool) -> None:
    from ..export.targets import every_target, find_targets

    targets = find_targets(to) if to else every_target()
    from ..export.list_rules import list_rules, write_pages

    rules = list_rules(targets)
    written = [] if out_dir is None else write_pages(rules, out_dir)
    if json:
        print_json([rule.to_dict() for rule in rules])
    elif out_dir is not None:
        out.print(f"{len(rules)} rules on {len(written)} pages in {out_dir}")
    else:
        print_rules(rules)
