"""Commands about the user's own network: check."""

from __future__ import annotations

import typer

from .console import out, print_json
from .options import InputShapeOption, JsonFlag, NetworkName, TargetNames
from .tables import print_findings


def check(
    network: NetworkName,
    to: TargetNames,
    size: InputShapeOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what of a network a target cannot do, where it stands and what to write instead."""
    from ..export.check import check_model, load_subject
    from ..export.targets import find_targets

    targets = find_targets(to)
    findings = check_model(*load_subject(network, size), targets)
    if json:
        print_json([finding.to_dict() for finding in findings])
    elif findings:
        print_findings(network, findings)
    else:
        out.print(f"{network}: nothing found for {', '.join(t.full_name for t in targets)}")
    raise typer.Exit(1 if any(f.severity == "error" for f in findings) else 0)
