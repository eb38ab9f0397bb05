"""``edgeark targets``: what there is, what is installed, and install or remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import err, print_json, print_table, working
from .options import JsonFlag, OfflineFlag

if TYPE_CHECKING:
    from ..export.targets.base import Target
    from ..export.toolchains import Toolchain

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
Names = Annotated[
    list[str], typer.Argument(metavar="TARGETS...", help="Targets or families, or: all.")
]


@app.callback()
def targets(context: typer.Context, json: JsonFlag = False) -> None:
    """List the targets, what proves an export to them, and whether they are installed."""
    if context.invoked_subcommand is not None:
        return
    from ..export.targets import find_target, list_targets

    rows = _describe([find_target(name) for name in list_targets()])
    if json:
        return print_json(rows)
    columns = ["target", "group", "what", "evidence", "precisions", "installed", "versions"]
    print_table("targets", columns, _by_family(rows))
    if not all(r["installed"] for r in rows):
        err.print("an export installs what it needs; or: edgeark targets install TARGETS...")


@app.command()
def install(names: Names, offline: OfflineFlag = False, json: JsonFlag = False) -> None:
    """Install the toolchains of targets ahead of their first export."""
    from ..export.toolchains import manage

    if offline:
        go_offline()
    chains = _chains(names)
    with working() as say:
        manage.install(chains, say)
    _report([{"toolchain": c.name, "disk_mb": _mb(manage.disk_bytes(c))} for c in chains], json)


@app.command()
def remove(names: Names, json: JsonFlag = False) -> None:
    """Delete the toolchains of targets; the next export to them installs them again."""
    from ..export.toolchains import manage

    freed = [{"toolchain": c.name, "freed_mb": _mb(manage.remove(c))} for c in _chains(names)]
    _report(freed, json)


def _describe(chosen: list[Target]) -> list[dict[str, Any]]:
    from ..export.toolchains import manage

    sizes: dict[str, int] = {}  # of toolchains, which chips share
    rows = []
    for target in chosen:
        chain, chains = target.toolchain, target.toolchains()
        missing = [each for each in chains if not each.is_installed()]
        for each in chains:
            if each.name not in sizes:
                sizes[each.name] = _mb(manage.disk_bytes(each))
        rows.append(
            {
                "target": target.full_name,
                "group": target.group,
                "description": target.description,
                "evidence": target.evidence.value,
                "precisions": list(target.supported_precisions()),
                "installed": not missing,
                "versions": target.versions(),
                "toolchain": chain and chain.name,
                "download_mb": sum(each.download_mb for each in missing),
                "disk_mb": sum(sizes[each.name] for each in chains),
            }
        )
    return rows


def _by_family(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The rows as cells; chips of a family that differ in nothing but their name share a row."""
    chips: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        family, _, chip = row["target"].partition(":")
        fetch = f"no, {row['download_mb']} MB to fetch"
        size = f", {row['disk_mb']} MB" if row["toolchain"] else ""
        cells = (
            family,
            row["group"],
            row["description"],
            row["evidence"],
            ", ".join(row["precisions"]),
            f"yes{size}" if row["installed"] else fetch,
            ", ".join(f"{name} {version}" for name, version in row["versions"].items()),
        )
        chips.setdefault(cells, []).append(chip)
    return [[_with_chips(cells[0], names), *cells[1:]] for cells, names in chips.items()]


def _with_chips(family: str, chips: list[str]) -> str:
    """``family``, ``family:a b`` or, where it is a target without a chip too, both."""
    named = " ".join(filter(None, chips))
    return " ".join(filter(None, [family * ("" in chips), named and f"{family}:{named}"]))


def _chains(names: list[str]) -> list[Toolchain]:
    """The toolchains behind the names, each once.

    Raises:
        EdgearkError: an unknown name, or none of them has a toolchain.
    """
    from ..export.targets import family_of, list_targets

    parts = [part for name in names for part in name.split(",") if part.strip()]
    every = list_targets() if "all" in parts else parts
    chains = {chain.name: chain for name in every for chain in family_of(name).toolchains()}
    if not chains:
        raise EdgearkError(f"{', '.join(parts)}: nothing to install, edgeark itself is enough")
    return list(chains.values())


def _mb(size: int) -> int:
    return round(size / 1e6)


def _report(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        return print_json(rows)
    print_table("toolchains", list(rows[0]), [list(row.values()) for row in rows])
