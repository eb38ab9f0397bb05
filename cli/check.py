"""``edgeark check``: lint a network for targets, or list the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import EdgearkError
from .console import out, print_json
from .options import (
    InputShapeOption,
    JsonFlag,
    NetworkName,
    PretrainedFlag,
    TargetNames,
    TrustFlag,
    WeightsFile,
)
from .tables import print_findings, print_rules


def check(
    network: NetworkName = "",
    to: TargetNames = "",
    input_shape: InputShapeOption = None,
    weights: WeightsFile = None,
    pretrained: PretrainedFlag = False,
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

    Each finding names the module, the source line, the reason and a fix.
    """
    from ..export.targets import find_targets

    if list_rules:
        if network:
            raise EdgearkError("--list-rules takes no network")
        _list_rules(to, out_dir, json)
        return
    if out_dir is not None:
        raise EdgearkError("--out goes with --list-rules")
    if not network or not to:
        raise EdgearkError("name a network and its targets: edgeark check my_net.py:Net --to mnn")
    targets = find_targets(to)  # a mistyped name is said before the network is made
    from ..export.check import check_source
    from ..export.sources import InputOptions, open_source

    options = InputOptions(shapes=input_shape)
    source = open_source(network, options, weights=weights, pretrained=pretrained)
    findings = check_source(source, targets)
    if json:
        print_json([finding.to_dict() for finding in findings])
    elif findings:
        print_findings(network, findings)
    else:
        out.print(f"{network}: nothing found for {', '.join(t.full_name for t in targets)}")
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
