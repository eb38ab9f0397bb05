"""Images in one folder a class: on disk or in a zip, with a split by folder, file or chance."""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
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
SPLIT_FILE = "split.tsv"
_TEST_SHARE = 0.2
_NAMED = 5  # broken files that a message names


@dataclass(frozen=True)
class Listing:
    """Images that are not read yet: names, numbers of their classes, and how to get the bytes."""

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
    with open_zip(folder / f"{split}.zip") as archive:
        listing = list_by_class("cifar10", archive.namelist(), archive.read)
        return read_pictures(listing, split, shape or (3, 32, 32), sample)


def load_sign_digits(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Hands that show the digits 0 to 9, split by person: 1,625 and 437 of 100x100."""
    folder = require("sign_digits", SPLIT_FILE, data)
    names = read_split(folder / SPLIT_FILE)[split]
    listing = list_by_class("sign_digits", names, partial(read_file, folder))
    return read_pictures(listing, split, shape or (3, 100, 100), sample)


def load_image_folder(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Images of one's own, one folder a class: a folder or a zip of ``<class>/*``.

    The split is ``train/<class>/*`` and ``test/<class>/*``, or what a file ``split.tsv`` at the top
    says; without either every fifth image, drawn once and for all, is a test image.
    """
    if data is None or not data.exists():
        raise DataError("name the folder of your images with --data: one folder a class inside")
    if data.is_dir():
        files = [p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()]
        return _read_classes(data, split, files, partial(read_file, data), shape, sample)
    with open_zip(data) as archive:
        top = _only_folder(archive.namelist())
        names = [name.removeprefix(top) for name in archive.namelist()]
        return _read_classes(data, split, names, lambda n: archive.read(top + n), shape, sample)


def _only_folder(names: Sequence[str]) -> str:
    """``photos/`` for a zip that has nothing beside that folder, else nothing."""
    tops = {name.split("/")[0] for name in names if _is_picture(name)}
    deep = all(name.count("/") > 1 for name in names if _is_picture(name))
    return f"{tops.pop()}/" if len(tops) == 1 and deep else ""


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip to read from.

    Raises:
        DataError: it is none.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _read_classes(
    data: Path,
    split: Split,
    files: Sequence[str],
    read: Callable[[str], bytes],
    shape: Shape | None,
    sample: int | None,
) -> ImageSet:
    """The images of a split of ``files``, which ``read`` gets by their paths below ``data``."""
    pictures = sorted(f for f in files if _is_picture(f))
    parts = {
        part: [f for f in pictures if f.startswith(f"{part}/") and f.count("/") == 2]
        for part in ("train", "test")
    }
    if SPLIT_FILE in files:
        parts = parse_split(read(SPLIT_FILE), data / SPLIT_FILE)
    elif not all(parts.values()):
        below = [f for f in pictures if f.count("/") == 1]
        listing = list_by_class(data.resolve().stem, below, read)
        listing = listing.pick(drawn_part(len(listing.names), split))
        return read_pictures(listing, split, shape, sample)
    known = sorted({PurePosixPath(f).parent.name for f in parts["train"]})
    listing = list_by_class(data.resolve().stem, parts[split], read, known)
    return read_pictures(listing, split, shape, sample)


def _is_picture(path: str) -> bool:
    """By its name; what macOS adds to zips has names of images, and is none."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(path).parts)
    return path.lower().endswith(SUFFIXES) and not hidden


def drawn_part(total: int, split: Split) -> np.ndarray:
    """Indices of the test images, every fifth, or of the others; drawn once and for all."""
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
        raise DataError(f"{name}: {len(classes)} folders with images, one a class is needed")
    if strange := sorted(set(folders) - set(classes)):
        raise DataError(f"{name}: the class {strange[0]!r} is in test and not in train")
    labels = np.array([classes.index(folder) for folder in folders], np.int64)
    return Listing(name, tuple(pictures), labels, classes, read)


def read_split(path: Path) -> dict[str, list[str]]:
    """The parts in a split file: see :func:`parse_split`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None
    return parse_split(content, path)


def parse_split(content: bytes, path: Path) -> dict[str, list[str]]:
    """The parts in a split file: a line holds ``train`` or ``test``, a tab, and a relative path.

    Raises:
        DataError: it holds another line; ``path`` is for this message.
    """
    parts: dict[str, list[str]] = {"train": [], "test": []}
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
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
        DataError: no image can be decoded; see :func:`read_each`.
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
        except (OSError, DataError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            return None, str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside of Python's lock
        results = list(pool.map(attempt, names))
    good = [i for i, (found, _) in enumerate(results) if found is not None]
    broken = {n: why for n, (found, why) in zip(names, results, strict=True) if found is None}
    if not good:
        reason = f"; {next(iter(broken))}: {next(iter(broken.values()))}" if broken else ""
        raise DataError(f"{dataset}: none of {len(names)} images can be read{reason}")
    warn_left_out(dataset, list(broken), f"of {len(names)} {split} images cannot be read")
    return good, [found for found, _ in results if found is not None]


def warn_left_out(dataset: str, names: Sequence[str], what: str) -> None:
    """Say how many are left out, and which files the first ones are (in); nothing for none."""
    if names:
        named = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
        logger.warning("%s: %d %s and are left out: %s", dataset, len(names), what, named)


def decode(content: bytes) -> np.ndarray:
    """The pixels of an encoded image, upright: uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (rgb).

    Raises:
        DataError: it is no image, or a truncated one.
    """
    try:
        with Image.open(BytesIO(content)) as file:
            upright = ImageOps.exif_transpose(file)
            return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"not a readable image: {error}") from None


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
