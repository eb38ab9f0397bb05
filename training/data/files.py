"""The files of a data set: in a folder, or in a zip of it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ...core.files import MOST_IMAGE_BYTES, read_entry, read_file
from ...errors import DataError
from .images import Split
from .pixels import SUFFIXES
from .text import decode_text, read_lines

SPLIT_FILE = "split.tsv"


@dataclass(frozen=True)
class Files:
    """Names below a data set's top, with ``/``, sorted; and how to read one.

    ``root`` is the folder or the zip, for messages and for the data set's name.
    """

    root: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]
    folders: tuple[str, ...] = ()

    @classmethod
    def open(cls, data: Path) -> Files:
        """The files of a folder or a zip.

        A folder that holds nothing but one other folder is that folder. Hidden files and what
        macOS adds to zips are left out.

        Raises:
            DataError: ``data`` is neither.
        """
        if data.is_dir():
            names = [
                p.relative_to(data).as_posix() + ("/" if p.is_dir() else "")
                for p in data.rglob("*")
            ]
            return cls._strip(data, names, lambda name: read_file(data / name, MOST_IMAGE_BYTES))
        archive = open_zip(data)
        return cls._strip(data, archive.namelist(), lambda name: read_entry(archive, name))

    @classmethod
    def _strip(cls, root: Path, names: Sequence[str], read: Callable[[str], bytes]) -> Files:
        shown = [name for name in names if not _is_hidden(name)]
        kept = [name for name in shown if not name.endswith("/")]
        top = ""
        while (further := _only_folder([name.removeprefix(top) for name in kept])) is not None:
            top += further
        below = tuple(sorted(name.removeprefix(top) for name in kept))
        folders = [name.removeprefix(top).rstrip("/") for name in shown if name.endswith("/")]
        return cls(root, below, lambda name: read(top + name), tuple(sorted(filter(None, folders))))

    @property
    def name(self) -> str:
        """The data set's, for messages."""
        return self.root.resolve().stem

    @cached_property
    def images(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if is_image(name))

    @cached_property
    def present(self) -> frozenset[str]:
        return frozenset(self.names)

    def text(self, name: str) -> str:
        return decode_text(self.read(name), name)

    def lines(self, name: str) -> list[str]:
        return read_lines(self.read(name), name)

    def below(self, folder: str) -> list[str]:
        """The files in ``folder``, at any depth."""
        return [name for name in self.names if name.startswith(f"{folder}/")]

    def images_below(self, folder: str) -> list[str]:
        return [name for name in self.images if name.startswith(f"{folder}/")]

    def with_suffix(self, suffix: str) -> list[str]:
        return [name for name in self.names if name.lower().endswith(suffix)]


def is_image(name: str) -> bool:
    """By its suffix."""
    return name.lower().endswith(SUFFIXES)


def stem_of(name: str) -> str:
    return PurePosixPath(name).stem


def parent_of(name: str) -> str:
    """The folder of a file; empty at the top."""
    return "/".join(name.split("/")[:-1])


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip to read from.

    Raises:
        DataError: it is none.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def parse_split(content: bytes, path: Path) -> dict[Split, list[str]]:
    """The parts in a split file: a line holds ``train`` or ``test``, a tab, and a relative path.

    Raises:
        DataError: it holds another line; ``path`` is for this message.
    """
    parts: dict[Split, list[str]] = {"train": [], "test": []}
    for number, line in enumerate(decode_text(content, str(path)).splitlines(), 1):
        part, _, name = line.partition("\t")
        if part not in ("train", "test") or not name:
            raise DataError(f"{path}, line {number}: expected train or test, a tab and a path")
        parts[part].append(name)
    return parts


def read_split(path: Path) -> dict[Split, list[str]]:
    """The parts in a split file: see :func:`parse_split`."""
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None
    return parse_split(content, path)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _only_folder(names: Sequence[str]) -> str | None:
    """``photos/`` where all images lie deeper in that folder, and nothing else is beside it."""
    tops = {name.split("/")[0] for name in names}
    images = [name for name in names if is_image(name)]
    deep = bool(images) and all(name.count("/") > 1 for name in images)
    if len(tops) != 1 or not deep or tops <= {"train", "val", "test", "images"}:
        return None
    return f"{tops.pop()}/"
