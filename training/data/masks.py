"""Images with a mask each: the magnetic tiles, and a folder of one's own.

A set's labels are masks uint8 ``[N, H, W]`` at the network's size, as
:mod:`edgeark.zoo.tasks.segmentation` defines them: 0 and 1, or indices of classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import DataError
from ...zoo.tasks.pictures import to_input
from ...zoo.tasks.segmentation import marked
from .folders import (
    SPLIT_FILE,
    SUFFIXES,
    decode,
    drawn_part,
    read_each,
    read_file,
    read_split,
    require,
)
from .images import ImageSet, Shape, Split, draw

_HALF = 127  # of 255: masks are stored as 0 and 255, a lossy file's with noise around both
_CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class MaskListing:
    """Images and masks that are not read yet: names of the files below ``root``.

    ``read_mask`` turns a file's stored values into a mask; ``classes`` has the background's name
    only where there are several.
    """

    name: str
    root: Path
    pictures: tuple[str, ...]
    masks: tuple[str, ...]
    classes: tuple[str, ...]
    read_mask: Callable[[np.ndarray], np.ndarray]

    def pick(self, indices: np.ndarray) -> MaskListing:
        pictures, masks = (
            tuple(names[i] for i in indices) for names in (self.pictures, self.masks)
        )
        return replace(self, pictures=pictures, masks=masks)


def load_magnetic_tile(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Magnetic tiles with surface defects (Huang et al.): 1,074 and 270, of 103x222 to 632x403.

    Most are clean. ``groups`` are the folders: Blowhole, Break, Crack, Fray, Uneven and Free.
    ``sequence_index`` are those in the files' names: the exposures of one tile are neighbours.
    """
    root = require("magnetic_tile", SPLIT_FILE, data)
    names = tuple(read_split(root / SPLIT_FILE)[split])
    masks = tuple(str(PurePosixPath(n).with_suffix(".png")) for n in names)
    listing = MaskListing("magnetic_tile", root, names, masks, ("defect",), _over_half)
    found, kept = _read(listing, split, shape or (1, 224, 224), sample)
    return replace(
        found,
        groups=np.array([PurePosixPath(n).parts[0].removeprefix("MT_") for n in kept]),
        sequence_index=np.array([_number(n) for n in kept], np.int64),
    )


def load_mask_folder(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """Images of one's own: ``<data>/images/*`` and ``<data>/masks/<same stem>.png``.

    Or both folders in ``<data>/train`` and in ``<data>/test``, or a file ``<data>/split.tsv`` that
    lists ``images/...``; without these every fifth image, drawn once and for all, is a test
    image. A mask marks what is over half of 255, or is 1 in a file of 0 and 1. With a file
    ``<data>/classes.txt``, a name a line and the background first, its values are indices of these
    classes. ``groups`` are ``marked`` and ``clean``.
    """
    if data is None or not data.is_dir():
        raise DataError("name the folder of your images with --data: images and masks inside")
    table = data / SPLIT_FILE
    parts = all((data / part).is_dir() for part in ("train", "test")) and not table.exists()
    root = data / split if parts else data
    if table.exists():
        files = [PurePosixPath(name).name for name in read_split(table)[split]]
    else:
        files = sorted(p.name for p in (root / "images").glob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"no images in {root / 'images'}")
    classes = _read_classes(data / _CLASSES_FILE)
    read_mask = _indices_below(len(classes)) if classes else _marked
    listing = MaskListing(
        data.resolve().name,
        root,
        tuple(f"images/{f}" for f in files),
        tuple(f"masks/{PurePosixPath(f).stem}.png" for f in files),
        classes or ("foreground",),
        read_mask,
    )
    if not parts and not table.exists():
        listing = listing.pick(drawn_part(len(files), split))
    found = _read(listing, split, shape, sample)[0]
    return replace(found, groups=np.where(marked(found.labels), "marked", "clean"))


def _read(
    listing: MaskListing, split: Split, shape: Shape | None, sample: int | None
) -> tuple[ImageSet, list[str]]:
    """The set, and its images' names; ``shape`` None takes the first image's."""
    if sample is not None:
        listing = listing.pick(draw(len(listing.pictures), sample))
    if shape is None:
        first = decode(read_file(listing.root, listing.pictures[0]))
        shape = (3, *first.shape[:2])
    channels, *size = shape
    shrink = resize_indices if len(listing.classes) > 1 else resize_marks
    mask_of = dict(zip(listing.pictures, listing.masks, strict=True))

    def one(name: str) -> tuple[np.ndarray, np.ndarray]:
        picture = decode(read_file(listing.root, name))
        mask = listing.read_mask(decode_mask(read_file(listing.root, mask_of[name])))
        if mask.shape != picture.shape[:2]:
            raise DataError(f"the image is {picture.shape[:2]}, its mask {mask.shape}")
        return to_input(picture, (size[0], size[1]), channels), shrink(mask, (size[0], size[1]))

    good, found = read_each(listing.name, split, listing.pictures, one)
    images = np.concatenate([picture for picture, _ in found])
    masks = np.stack([mask for _, mask in found])
    kept = [listing.pictures[i] for i in good]
    return ImageSet(listing.name, split, images, masks, listing.classes), kept


def decode_mask(content: bytes) -> np.ndarray:
    """The stored values of a mask, uint8 ``[h, w]``; of a palette file the indices.

    Raises:
        DataError: it is no image, a truncated one, or in colour.
    """
    try:
        with Image.open(BytesIO(content)) as file:
            if file.mode not in ("1", "L", "P"):
                raise DataError(f"a mask is gray or has a palette, this one is {file.mode}")
            return np.asarray(file).astype(np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"not a readable mask: {error}") from None


def resize_marks(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of 0 and 1 at ``(height, width)``: a pixel is 1 where half of its area or more is."""
    rows, columns = (_area_matrix(old, new) for old, new in zip(mask.shape, size, strict=True))
    return (rows @ mask.astype(np.float64) @ columns.T >= 0.5 - 1e-9).astype(np.uint8)


def resize_indices(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of class indices at ``(height, width)``: a pixel is what lies under its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[rows[:, None], columns]


def _area_matrix(old: int, new: int) -> np.ndarray:
    """Averages along one axis, ``[new, old]``: the share of each old pixel in a new one."""
    ratio = old / new
    start, pixel = np.arange(new)[:, None] * ratio, np.arange(old)[None]
    return np.clip(np.minimum(start + ratio, pixel + 1) - np.maximum(start, pixel), 0, None) / ratio


def _over_half(values: np.ndarray) -> np.ndarray:
    return (values > _HALF).astype(np.uint8)


def _marked(values: np.ndarray) -> np.ndarray:
    largest = int(values.max())
    if 1 < largest <= _HALF:
        raise DataError(
            f"a mask of values up to {largest}: name its classes in {_CLASSES_FILE}, "
            "or save it as 0 and 255"
        )
    return values if largest <= 1 else _over_half(values)


def _indices_below(count: int) -> Callable[[np.ndarray], np.ndarray]:
    def check(values: np.ndarray) -> np.ndarray:
        if values.max() >= count:
            raise DataError(
                f"the mask has the value {values.max()}, {_CLASSES_FILE} names {count} classes"
            )
        return values

    return check


def _read_classes(path: Path) -> tuple[str, ...]:
    """The names in ``classes.txt``; empty where there is no such file."""
    if not path.exists():
        return ()
    try:
        names = tuple(path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    classes = tuple(name.strip() for name in names if name.strip())
    if len(classes) < 2:
        raise DataError(f"{path} names {len(classes)} classes; the background is one of them")
    return classes


def _number(name: str) -> int:
    """The number at the end of a file's name; 0 for none."""
    found = re.search(r"(\d+)$", PurePosixPath(name).stem)
    return int(found[1]) if found else 0
