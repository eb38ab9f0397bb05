"""Masks: from the stored values, colours or palette of a file to class indices, and resizing.

A mask is uint8 ``[h, w]`` as :mod:`edgeark.zoo.tasks.segmentation` defines it: 0 and 1, or indices
of classes; ``IGNORE`` marks pixels that count nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ...zoo.tasks.segmentation import IGNORE
from .pixels import ImageHeader, open_image

CLASSES_FILE = "classes.txt"
_HALF = 127  # of 255: masks are stored as 0 and 255, a lossy file's with noise around both
_LOSSY_TINT = 40  # between the channels of a gray pixel in a JPEG file
_FEW = 32  # values up to here are indices of classes, not noise around 0
_VOC_VOID = (224, 224, 192)  # the colour of PASCAL VOC's border of unknown pixels, at index 255
_BLACK = (0, 0, 0)

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a data set are to be understood.

    ``classes`` are those of ``classes.txt``, the background first; empty for one foreground.
    ``colors`` is the class of each colour, where the data set states it. ``ignore`` is a stored
    value whose pixels count nowhere.
    """

    classes: tuple[str, ...] = ()
    colors: Mapping[Rgb, int] | None = None
    ignore: int | None = None

    def read(self, content: bytes, header: ImageHeader) -> np.ndarray:
        """The mask in a file, upright as its image is.

        Raises:
            DataError: it is no image, or its values mean nothing here.
        """
        with open_image(content) as (stored, own):
            # A mask drawn on the stored image turns with it; one drawn on the upright one fits.
            follows = own.stored == header.stored != header.size and own.orientation == 1
            file = (header if follows else own).turn(stored)
            is_lossy = own.format == "JPEG"
            if self.colors is not None:
                return self._by_color(np.asarray(file.convert("RGB")))
            if file.mode == "P":
                return self._by_palette(np.asarray(file), file.getpalette("RGB") or [])
            if file.mode in ("1", "L"):
                return self._by_value(np.asarray(file.convert("L")), is_lossy)
            if file.mode.startswith("I"):
                values = np.asarray(file)
                if values.max(initial=0) > 255:
                    raise DataError(f"the mask has the value {values.max()}; 255 is the largest")
                return self._by_value(values.astype(np.uint8))
            rgb = np.asarray(file.convert("RGB"))
        if np.ptp(rgb, axis=2).max(initial=0) <= (_LOSSY_TINT if is_lossy else 0):
            return self._by_value(rgb[..., 1], is_lossy)
        return self._by_free_color(rgb)

    def _by_value(self, values: np.ndarray, is_lossy: bool = False) -> np.ndarray:
        void = np.zeros(values.shape, bool) if self.ignore is None else values == self.ignore
        kept = np.where(void, 0, values)
        largest = int(kept.max(initial=0))
        if self.classes:
            if largest >= len(self.classes):
                hint = "; pass --ignore 255 if it marks void" if largest == 255 else ""
                raise DataError(
                    f"the mask has the value {largest}, {CLASSES_FILE} names "
                    f"{len(self.classes)} classes{hint}"
                )
            found = kept
        elif 1 < largest <= _HALF:
            raise DataError(
                f"a mask of values up to {largest}: name its classes in {CLASSES_FILE}, "
                "or save it as 0 and 255"
            )
        elif largest <= 1:
            found = kept
        else:
            between = [value for value in np.unique(kept).tolist() if 0 < value < 255]
            if not is_lossy and largest == 255 and between and between[-1] <= _FEW:
                raise DataError(
                    f"a mask with the values 0, {', '.join(map(str, between))}, 255: pass "
                    "--ignore 255 if 255 marks void, or save it as 0 and 255"
                )
            found = kept > _HALF
        return np.where(void, IGNORE, found).astype(np.uint8)

    def _by_palette(self, indices: np.ndarray, palette: Sequence[int]) -> np.ndarray:
        """By index where the file's classes are numbered, by colour where it is black and white."""
        table = np.array(palette, np.uint8).reshape(-1, 3)
        table = np.concatenate([table, np.zeros((256 - len(table), 3), np.uint8)])
        present = np.unique(indices).tolist()
        colors = [tuple(table[index].tolist()) for index in present]
        grays = all(max(color) - min(color) == 0 for color in colors)
        extremes = all(max(color) < 64 or min(color) > 192 for color in colors)
        identity = all(color[0] == index for index, color in zip(present, colors, strict=True))
        if extremes and not identity and any(min(color) > 192 for color in colors):
            void = 255 in present and tuple(table[255].tolist()) == _VOC_VOID
            if not void:
                return self._by_value(table[indices, 1] // 128 * 255, True).clip(max=1)
        if grays and not self.classes and not identity and len(present) > 2:
            return self._by_value(table[indices, 0])
        if self.ignore is None and 255 in present and tuple(table[255].tolist()) == _VOC_VOID:
            return MaskRule(self.classes, None, 255)._by_value(indices)
        if not self.classes and len(present) == 2 and _BLACK in colors and colors[0] != _BLACK:
            return (indices != present[colors.index(_BLACK)]).astype(np.uint8)
        return self._by_value(indices)

    def _by_color(self, rgb: np.ndarray) -> np.ndarray:
        assert self.colors is not None
        codes = rgb.astype(np.int64) @ np.array([65536, 256, 1])
        found = np.zeros(codes.shape, np.uint8)
        for code in np.unique(codes).tolist():
            color = (code >> 16, code >> 8 & 255, code & 255)
            index = self.colors.get(color)
            if index is None and color != _VOC_VOID:
                raise DataError(f"the mask has the colour {color}, which no class has")
            found[codes == code] = IGNORE if index is None else index
        return found

    def _by_free_color(self, rgb: np.ndarray) -> np.ndarray:
        """Colours that nothing names: one beside black is a foreground."""
        codes = rgb.astype(np.int64) @ np.array([65536, 256, 1])
        present = np.unique(codes).tolist()
        colors = [(code >> 16, code >> 8 & 255, code & 255) for code in present]
        if len(present) == 2 and _BLACK in colors and not self.classes:
            return (codes != 0).astype(np.uint8)
        shown = ", ".join(f"{r} {g} {b}" for r, g, b in colors[:4])
        raise DataError(
            f"a mask of {len(present)} colours ({shown} ...): write a line `name R G B` a class to "
            f"{CLASSES_FILE}, the background first"
        )


def parse_classes(lines: Sequence[str], name: str) -> MaskRule:
    """The rule in ``classes.txt`` (a name a line) or CVAT's ``labelmap.txt`` (``name:r,g,b::``).

    A name may be followed by its colour: ``scratch 255 0 0``. The background comes first; CVAT's
    is moved there.

    Raises:
        DataError: fewer than two classes, or colours for some of them alone.
    """
    names: list[str] = []
    colors: list[Rgb] = []
    for line in lines:
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"(.+?)\s*[:\s]\s*(\d+)[,\s]+(\d+)[,\s]+(\d+)\s*:*.*", line)
        names.append(found[1] if found else line)
        if found:
            colors.append((int(found[2]), int(found[3]), int(found[4])))
    if len(names) < 2:
        raise DataError(f"{name} names {len(names)} classes; the background is one of them")
    if not colors:
        return MaskRule(tuple(names))
    if len(colors) != len(names):
        raise DataError(f"{name} has colours for {len(colors)} of its {len(names)} classes")
    order = sorted(range(len(names)), key=lambda i: names[i].lower() != "background")
    pairs = [(names[i], colors[i]) for i in order]
    return MaskRule(tuple(n for n, _ in pairs), {c: i for i, (_, c) in enumerate(pairs)})


def resize_mask(mask: np.ndarray, size: tuple[int, int], num_classes: int) -> np.ndarray:
    """A mask at ``(height, width)``: of one class by area, of several by what lies under a pixel's
    centre."""
    if num_classes > 1:
        return resize_indices(mask, size)
    marks = resize_marks(mask == 1, size)
    if not (mask == IGNORE).any():
        return marks
    return np.where(resize_marks(mask == IGNORE, size) == 1, IGNORE, marks).astype(np.uint8)


def resize_marks(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of 0 and 1 at ``(height, width)``: a pixel is 1 where half of its area or more is."""
    shares = np.asarray(mask, np.float32 if mask.size > 2**24 else np.float64)
    for axis in (0, 1):
        shares = _area_means(shares, size[axis], axis)
    return (shares >= 0.5 - 1e-6).astype(np.uint8)


def resize_indices(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of class indices at ``(height, width)``: a pixel is what lies under its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[rows[:, None], columns]


def _area_means(values: np.ndarray, new: int, axis: int) -> np.ndarray:
    """Means over ``new`` equal stretches of an axis: differences of its running sum."""
    old = values.shape[axis]
    sums = np.concatenate(
        [np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis=axis, dtype=np.float64
    )
    edges = np.arange(new + 1) * (old / new)
    low = np.minimum(edges.astype(int), old - 1)
    share = (edges - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    at = sums.take(low, axis) * (1 - share) + sums.take(low + 1, axis) * share
    return np.diff(at, axis=axis) * (new / old)
