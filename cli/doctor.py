"""``edgeark doctor``: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import typer

from .console import out, print_json, working
from .options import JsonFlag

_COLORS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(json: JsonFlag = False) -> None:
    """Look at Pythons, packages, cache, disk, weights and toolchains; status 1 is a problem."""
    from ..export.doctor import examine

    with working() as say:
        say("looking at this machine")
        checks = examine()
    if json:
        print_json([check.to_dict() for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = f"[{_COLORS[check.health]}]{check.health:<7}[/]"
            out.print(f"{mark}  {check.name:<{width}}  ", end="")
            out.print(check.found, markup=False, highlight=False, soft_wrap=True)
            if check.advice:
                out.print(" " * (11 + width) + check.advice, markup=False, highlight=False)
    if any(check.health == "problem" for check in checks):
        raise typer.Exit(1)
