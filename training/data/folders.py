"""Pictures in one folder a class: on disk or in a zip, with a split by folder, file or chance."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import DataError
from ...zoo.tasks.pictures import to_input
from .images import ImageSet, Shape, Split, draw
from .sources import find_dataset

logger = logging.getLogger(__name__)
T = TypeVar("T")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")
_TEST_SHARE = 0.2
_NAMED = 5  # broken files that a message names


@dataclass(frozen=True)
class Listing:
    """Pictures that are not read yet: names, numbers of their classes, and how to get the bytes."""

    name: str
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    read: Callable[[str], bytes]

    def pick(self, indices: Iterable[int]) -> Listing:
        chosen = list(indices)
        names = tuple(self.names[i] for i in chosen)
        return Listing(self.name, names, self.labels[chosen], self.classes, self.read)


def load_cifar10(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """CIFAR-10 as JPEG files in ``train.zip`` and ``test.zip``: 50,000 and 10,000 of 32x32."""
    folder = require("cifar10", "train.zip", data)
    try:
        archive = zipfile.ZipFile(folder / f"{split}.zip")
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {folder / split}.zip: {error}") from None
    with archive:
        listing = list_by_class("cifar10", archive.namelist(), archive.read)
        return read_pictures(listing, split, shape or (3, 32, 32), sample)


def load_sign_digits(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Hands that show the digits 0 to 9, split by person: 1,625 and 437 of 100x100."""
    folder = require("sign_digits", "split.tsv", data)
    names = read_split(folder / "split.tsv")[split]
    listing = list_by_class("sign_digits", names, partial(read_file, folder))
    return read_pictures(listing, split, shape or (3, 100, 100), sample)


def load_image_folder(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Pictures of one's own: ``<data>/<class>/*``, or ``<data>/train/<class>/*`` and ``test``.

    Without a ``test`` folder every fifth picture, drawn once and for all, is one.
    """
    if data is None or not data.is_dir():
        raise DataError("name the folder of your pictures with --data: one folder a class inside")
    parts = (data / "train").is_dir() and (data / "test").is_dir()
    root = data / split if parts else data
    files = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.is_file())
    known = sorted(p.name for p in (data / "train").iterdir() if p.is_dir()) if parts else None
    listing = list_by_class(data.resolve().name, files, partial(read_file, root), known)
    if not parts:
        listing = listing.pick(drawn_part(len(listing.names), split))
    return read_pictures(listing, split, shape, sample)


def drawn_part(total: int, split: Split) -> np.ndarray:
    """Indices of the test pictures, every fifth, or of the others; drawn once and for all."""
    order = np.random.default_rng(0).permutation(total)
    count = max(1, round(_TEST_SHARE * total))
    return np.sort(order[:count] if split == "test" else order[count:])


def list_by_class(
    name: str,
    files: Sequence[str],
    read: Callable[[str], bytes],
    known: Sequence[str] | None = None,
) -> Listing:
    """Group files by the folder that they lie in; classes are numbered in sorted order.

    ``known`` are the classes where the files may lack some: a small test set, say.

    Raises:
        DataError: fewer than two classes, or one that is not known.
    """
    pictures = sorted(f for f in files if f.lower().endswith(SUFFIXES))
    folders = [PurePosixPath(f).parent.name for f in pictures]
    classes = tuple(sorted(set(folders)) if known is None else known)
    if len(classes) < 2:
        raise DataError(f"{name}: {len(classes)} folders with pictures, one a class is needed")
    if strange := sorted(set(folders) - set(classes)):
        raise DataError(f"{name}: the class {strange[0]!r} is in test and not in train")
    labels = np.array([classes.index(folder) for folder in folders], np.int64)
    return Listing(name, tuple(pictures), labels, classes, read)


def read_split(path: Path) -> dict[str, list[str]]:
    """A split file: a line holds ``train`` or ``test``, a tab, and a file's relative path.

    Raises:
        DataError: it cannot be read, or holds another line.
    """
    parts: dict[str, list[str]] = {"train": [], "test": []}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        part, _, name = line.partition("\t")
        if part not in parts or not name:
            raise DataError(f"{path}, line {number}: expected train or test, a tab and a path")
        parts[part].append(name)
    return parts


def read_pictures(
    listing: Listing, split: Split, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Decode a listing (or a sample of it) into one array; ``shape`` None takes the first one's.

    Raises:
        DataError: no picture can be decoded; see :func:`read_each`.
    """
    if sample is not None:
        listing = listing.pick(draw(len(listing.names), sample))
    if shape is None:
        first = decode(listing.read(listing.names[0]))
        shape = (3, *first.shape[:2])

    def one(name: str) -> np.ndarray:
        return to_input(decode(listing.read(name)), shape[1:], shape[0])

    good, found = read_each(listing.name, split, listing.names, one)
    images = np.concatenate(found)
    return ImageSet(listing.name, split, images, listing.labels[good], listing.classes)


def read_each(
    dataset: str, split: Split, names: Sequence[str], read: Callable[[str], T]
) -> tuple[list[int], list[T]]:
    """Read every file, several at once: indices of those that can be read, and what they hold.

    The others are left out, named and counted in a warning.

    Args:
        dataset: the data set's name, for messages; ``split`` likewise.
        names: the files.
        read: reads one; by OSError, DataError or ValueError it says that the file is broken.

    Raises:
        DataError: none can be read.
    """

    def attempt(name: str) -> tuple[T | None, str]:
        try:
            return read(name), ""
        except (OSError, DataError, ValueError) as error:
            return None, str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside of Python's lock
        results = list(pool.map(attempt, names))
    good = [i for i, (found, _) in enumerate(results) if found is not None]
    broken = {n: why for n, (found, why) in zip(names, results, strict=True) if found is None}
    if not good:
        reason = f"; {next(iter(broken))}: {next(iter(broken.values()))}" if broken else ""
        raise DataError(f"{dataset}: none of {len(names)} pictures can be read{reason}")
    warn_left_out(dataset, list(broken), f"of {len(names)} {split} pictures cannot be read")
    return good, [found for found, _ in results if found is not None]


def warn_left_out(dataset: str, names: Sequence[str], what: str) -> None:
    """Say how many are left out, and which files the first ones are (in); nothing for none."""
    if names:
        named = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
        logger.warning("%s: %d %s and are left out: %s", dataset, len(names), what, named)


def decode(content: bytes) -> np.ndarray:
    """The pixels of an encoded picture, upright: uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (rgb).

    Raises:
        DataError: it is no picture, or a truncated one.
    """
    try:
        with Image.open(BytesIO(content)) as file:
            upright = ImageOps.exif_transpose(file)
            return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"not a readable picture: {error}") from None


def read_file(folder: Path, name: str) -> bytes:
    """The content of ``folder / name``."""
    return (folder / name).read_bytes()


def require(name: str, marker: str, data: Path | None) -> Path:
    """The folder of data set ``name``; see :func:`~edgeark.training.data.sources.find_dataset`.

    Raises:
        DataError: it is nowhere.
    """
    if (folder := find_dataset(name, marker, data)) is None:
        raise DataError(f"the data set {name} is not here: name its folder with --data")
    return folder
