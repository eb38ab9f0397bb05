"""Look at a data set by its format, for the command line and before a training."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from .catalog import Kind
from .findings import Finding
from .formats import FileFormat, Request, detect_format, find_format
from .look import Look, look_at
from .sheet import write_sheet


def inspect_folder(
    data: Path,
    dataset: str | None = None,
    *,
    task: Kind | None = None,
    ignore: int | None = None,
    sheet: Path | None = None,
) -> tuple[Look, Path | None]:
    """Look at a folder or a zip, and write a contact sheet of it.

    Args:
        data: the folder.
        dataset: the format's name; by default what the folder looks like.
        task: narrows that choice.
        ignore: the value of mask pixels that count nowhere.
        sheet: the file, or a folder.

    Returns:
        What was found, and the sheet's file.

    Raises:
        DataError: there is no such folder, or it is laid out in no known way.
    """
    kind = find_format(dataset) if dataset else detect_format(data, task)
    if not isinstance(kind, FileFormat):
        raise DataError(f"{kind.name} is one file of all images: there is nothing to look at")
    catalog = kind.open(Request(data, ignore=ignore))
    look = look_at(catalog, kind.name)
    written = write_sheet(catalog, look, sheet) if sheet is not None and look.sights else None
    return look, written


def inspect_before_training(
    dataset: str, data: Path | None, ignore: int | None = None
) -> tuple[Finding, ...]:
    """What is wrong with the data set of a training; nothing for a public one.

    Raises:
        DataError: it cannot be read at all.
    """
    kind = find_format(dataset)
    if not kind.is_own or not isinstance(kind, FileFormat):
        return ()
    return look_at(kind.open(Request(data, ignore=ignore)), dataset).findings
