"""Images with boxes: from a listing of either format to arrays in the network's pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ...errors import DataError
from ...zoo.registry import Color, ModelSpec
from ...zoo.tasks.boxes import areas
from ...zoo.tasks.letterbox import letterbox
from .folders import decode, read_each, warn_left_out
from .images import ImageSet, Shape, Split, draw

# The labels [k, 5] of an image of (height, width): x1, y1, x2, y2 in its pixels, class.
ReadBoxes = Callable[[str, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Frame:
    """How a network wants an image in its input: colour order, and where the grey goes."""

    color: Color = "rgb"
    centred: bool = True

    @classmethod
    def of(cls, spec: ModelSpec) -> Frame:
        return cls(spec.color, centred=spec.is_centred)


@dataclass(frozen=True)
class BoxListing:
    """Images that are not read yet, and how to get at an image's bytes and at its boxes."""

    name: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    read: Callable[[str], bytes]
    boxes: ReadBoxes

    def pick(self, indices: Iterable[int]) -> BoxListing:
        return replace(self, names=tuple(self.names[i] for i in indices))


@dataclass(frozen=True)
class _Example:
    picture: np.ndarray  # uint8 [1, C, H, W]
    labels: np.ndarray  # float32 [k, 5], input pixels
    dropped: int  # boxes without area in the image


def read_boxes(
    listing: BoxListing, split: Split, shape: Shape | None, sample: int | None, frame: Frame
) -> ImageSet:
    """Decode a listing, or a sample of it, letterboxed to ``shape``.

    ``labels`` of the result is an object array ``[N]`` of float32 ``[k, 5]``: x1, y1, x2, y2 in
    pixels of the network's input, cut off at the image's edges, and the class.

    An image or an annotation that cannot be read leaves the pair out; a box that has no area, or
    none inside of its image, is dropped. Both are named and counted in a warning.

    Raises:
        DataError: no shape is given, or no image can be read.
    """
    if shape is None:
        raise DataError(f"{listing.name}: images of all sizes need the network's input shape")
    color: Color = "gray" if shape[0] == 1 else frame.color
    if sample is not None:
        listing = listing.pick(draw(len(listing.names), sample))

    def one(name: str) -> _Example:
        picture = decode(listing.read(name))
        boxes = listing.boxes(name, picture.shape[:2])
        canvas, mapping = letterbox(picture, shape[1:], color, centred=frame.centred)
        kept = clip_boxes(boxes, picture.shape[:2])
        kept[:, :4] = mapping.to_input(kept[:, :4])
        return _Example(canvas, kept.astype(np.float32), len(boxes) - len(kept))

    good, examples = read_each(listing.name, split, listing.names, one)
    found = list(zip((listing.names[i] for i in good), examples, strict=True))
    empty = [name for name, example in found for _ in range(example.dropped)]
    total = sum(len(example.labels) for example in examples) + len(empty)
    outside = "boxes have no area inside their image"
    warn_left_out(listing.name, empty, f"of {total} {split} {outside}")
    images = np.concatenate([example.picture for example in examples])
    labels = as_labels(example.labels for example in examples)
    return ImageSet(listing.name, split, images, labels, listing.classes)


def clip_boxes(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels ``[k, 5]`` cut off at the edges of an image of ``(height, width)``.

    Without those that have no area there.
    """
    height, width = size
    clipped = labels.astype(np.float64)
    clipped[:, :4] = np.clip(clipped[:, :4], 0, (width, height, width, height))
    ordered = (clipped[:, 2:4] > clipped[:, :2]).all(axis=1)  # a NaN is not
    return clipped[ordered & (areas(clipped[:, :4]) > 0)]


def as_labels(rows: Iterable[np.ndarray]) -> np.ndarray:
    """An object array ``[N]`` of the arrays, even where all of them have one shape."""
    listed = list(rows)
    labels = np.empty(len(listed), object)
    for index, array in enumerate(listed):
        labels[index] = array
    return labels
