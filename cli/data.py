"""The command that looks at a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .console import err, out, print_json, print_table, working
from .options import JsonFlag

IgnoreOption = Annotated[
    Optional[int],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
    typer.Option(
        "--ignore", min=0, max=255, help="Mask value that belongs to no class, as VOC's 255."
    ),
]


def data(
    folder: Annotated[Path, typer.Argument(help="A folder or a zip of images and labels.")],
    dataset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--dataset", help="Its format. Default: what it looks like."),
    ] = None,
    ignore: IgnoreOption = None,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Contact sheet: a .png, a .html, or a folder for both."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Look at a data set: counts, sizes, labels, duplicates, and what is wrong with it."""
    from ..training.data.inspect import inspect_folder

    with working(not json) as say:
        say(f"reading {folder}")
        found, written = inspect_folder(folder, dataset, ignore=ignore, sheet=sheet)
    document: dict[str, Any] = found.to_dict()
    document["sheet"] = None if written is None else str(written)
    failed = any(finding.severity == "error" for finding in found.findings)
    if json:
        print_json(document)
        raise typer.Exit(2 if failed else 0)
    images, size = document["images"], document.get("size", {})
    parts = [name for name in ("train", "val", "test") if name in images]
    unit = {"classification": "images", "detection": "boxes"}.get(found.task, "pixels")
    rows = [
        [name, *(counts[part] for part in parts)]
        for name, counts in found.figures["per_class"].items()
    ]
    title = f"{found.name}: {found.dataset}, {found.task}, {unit} a class"
    print_table(title, ["class", *parts], rows)
    facts = [
        ["images", ", ".join(f"{images[part]} {part}" for part in parts)],
        ["split", "every fifth image, drawn" if found.is_drawn else "as given"],
        ["unreadable", document["unreadable"]],
        ["sizes", ", ".join(f"{k} {h}x{w}" for k, (h, w) in size.items())],
        ["bit depths", ", ".join(f"{n} of {d}" for d, n in document["bit_depths"].items())],
    ]
    for key in ("boxes", "masks"):
        facts += [[f"{key}: {k}", _short(v)] for k, v in document.get(key, {}).items()]
    print_table("figures", ["what", "value"], facts)
    for finding in found.findings:
        out.print(f"{finding.severity}: {finding.describe()}", soft_wrap=True, markup=False,
                  highlight=False)  # fmt: skip
    if not found.findings:
        out.print("nothing odd was found")
    if written is not None:
        err.print(f"contact sheet: {written}", soft_wrap=True)
    raise typer.Exit(2 if failed else 0)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:.4g}" for key, number in value.items())
    return str(value)
