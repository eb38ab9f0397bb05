"""Where a data set is: ``--data``, ``$EDGEARK_DATA``, or else the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from ...core.settings import cache_folder
from ...errors import DataError

DATA_VARIABLE = "EDGEARK_DATA"


def candidate_folders(name: str, data: Path | None = None) -> list[Path]:
    """The folders in which data set ``name`` is looked for, best first.

    A ``data`` that the user names is the only place then: a typing mistake must not end in
    another data set's figures.
    """
    if data is not None:
        return [data, data / name]
    folders = []
    if variable := os.environ.get(DATA_VARIABLE):
        folders += [Path(variable) / name, Path(variable)]
    folders.append(download_folder(name))
    folders.append(download_folder(name) / name.upper() / "raw")  # as torchvision lays it out
    return list(dict.fromkeys(folder.resolve() for folder in folders))


def find_dataset(name: str, marker: str, data: Path | None = None) -> Path | None:
    """The first candidate folder that holds a file matching ``marker``; None if there is none.

    Raises:
        DataError: the folder that the user named does not hold the data set.
    """
    for folder in candidate_folders(name, data):
        if any(folder.glob(marker)):
            return folder
    if data is not None:
        raise DataError(f"no {name} data set in {data}: expected files like {marker}")
    return None


def download_folder(name: str) -> Path:
    """The cache folder for a data set that is fetched."""
    return cache_folder() / "data" / name
