"""``edgeark check``: lint a network for targets."""

from __future__ import annotations

import typer

from .console import out, print_json
from .options import (
    InputShapeOption,
    JsonFlag,
    NetworkName,
    PretrainedFlag,
    TargetNames,
    WeightsFile,
)
from .tables import print_findings


def check(
    network: NetworkName,
    to: TargetNames,
    input_shape: InputShapeOption = None,
    weights: WeightsFile = None,
    pretrained: PretrainedFlag = False,
    json: JsonFlag = False,
) -> None:
    """Lint a network for targets: operators that they lack or compute otherwise, and what to do.

    Each finding names the module, the source line, the reason and a fix.
    """
    from ..export.targets import find_targets

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
