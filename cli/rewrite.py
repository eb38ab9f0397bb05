"""Commands about the user's own network: rewrite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .console import out, print_json, print_table
from .options import JsonFlag, TargetNames, TrustFlag, takes_network
from .tables import print_findings

if TYPE_CHECKING:
    from ..export.request import NetworkRequest


@takes_network()
def rewrite(
    request: NetworkRequest,
    to: TargetNames,
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--out", help="A new folder for network.py and weights.safetensors."),
    ] = None,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Rewrite unsupported operators into equal ones that targets have, and verify the result."""
    from ..export.rewrite import write_network
    from ..export.sources.rewriting import rewrite_source
    from ..export.targets import find_targets

    targets = find_targets(to)
    network, source = str(request.network), request.source
    done = rewrite_source(source, targets)
    if out_dir is not None:
        write_network(done, out_dir)
    if json:
        print_json(
            {
                "changes": [change.to_dict() for change in done.changes],
                "left": [finding.to_dict() for finding in done.left],
                "max_abs_error": done.max_abs_error,
                "out": None if out_dir is None else str(out_dir),
            }
        )
    else:
        rows = [[c.module or "-", c.source, c.done, c.rule] for c in done.changes]
        if rows:
            print_table(f"{network}: changed", ["module", "source", "done", "rule"], rows)
        if done.left:
            print_findings(f"{network}: left to you", done.left)
        where = "" if out_dir is None else f"; written to {out_dir}"
        out.print(
            f"{len(rows)} changed, {len(done.left)} left; max. error {done.max_abs_error:.2g} "
            f"against the original in PyTorch{where}",
            highlight=False,
            markup=False,
        )
    raise typer.Exit(1 if any(f.severity == "error" for f in done.left) else 0)
