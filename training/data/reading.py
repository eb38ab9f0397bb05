"""From a catalog to arrays at the network's size; what cannot be read is left out and named."""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ...errors import DataError
from ...zoo.spec import Color
from ...zoo.tasks.boxes import areas
from ...zoo.tasks.images import to_input
from ...zoo.tasks.letterbox import letterbox
from ...zoo.tasks.segmentation import has_foreground
from .catalog import Catalog
from .findings import name_some
from .images import ImageSet, Shape, Split, as_labels, draw
from .masks import resize_mask
from .pixels import decode_with_header
from .store import new_array, take_rows

logger = logging.getLogger(__name__)
T = TypeVar("T")

UNREADABLE = (OSError, DataError, ValueError, zipfile.BadZipFile, zlib.error, MemoryError)


def read_catalog(
    catalog: Catalog,
    split: Split,
    shape: Shape | None,
    sample: int | None,
    *,
    color: Color = "rgb",
    centred: bool = True,
) -> ImageSet:
    """Decode a split of a catalog, or a sample of it.

    An image or an annotation that cannot be read leaves the pair out; a box without area in its
    image is dropped. Both are named and counted in a warning. Boxes come as float32 ``[k, 5]`` in
    pixels of the network's input, letterboxed; other images are stretched to it.

    Args:
        catalog: what to read.
        split: the part.
        shape: the network's input; None takes the catalog's own, or the first image's.
        sample: so many images, drawn at random, the same ones every time.
        color, centred: for detection, how the network wants its input.

    Raises:
        DataError: no image can be read.
    """
    names = catalog.part(split)
    if sample is not None:
        names = tuple(names[i] for i in draw(len(names), sample))
    shape = shape or catalog.default_shape
    if catalog.task == "detection" and shape is None:
        raise DataError(f"{catalog.name}: images of all sizes need the network's input shape")
    if shape is None:
        shape = (3, *_first_size(catalog, names))
    own: Color = "gray" if shape[0] == 1 else color
    reader = _Reader(catalog, len(names), shape, own, centred)
    found, broken = read_each(list(enumerate(names)), reader.read)
    if not found:
        reason = next((f"; {job[1]}: {why}" for job, why in broken), "")
        raise DataError(f"{catalog.name}: none of {len(names)} images can be read{reason}")
    lost = [name for (_, name), _ in broken]
    warn_left_out(catalog.name, lost, f"of {len(names)} {split} images cannot be read")
    if catalog.task == "detection":
        total = sum(len(rows) for _, rows in found) + len(reader.dropped)
        outside = f"of {total} {split} boxes have no area inside their image"
        warn_left_out(catalog.name, sorted(reader.dropped), outside)
    return reader.finish(split, [job for job, _ in found], [result for _, result in found])


class _Reader:
    """Fills the arrays of a split, an image at a time, from several threads."""

    def __init__(
        self, catalog: Catalog, count: int, shape: Shape, color: Color, centred: bool
    ) -> None:
        self.catalog, self.shape, self.centred = catalog, shape, centred
        self.color: Color = color
        self.images = new_array((count, *shape))
        self.masks = new_array((count, *shape[1:])) if catalog.task == "segmentation" else None
        self.dropped: list[str] = []  # the image of each box without area

    def read(self, job: tuple[int, str]) -> Any:
        """Decode an image into its row; what is returned is its label, or its mask's group."""
        index, name = job
        pixels, header = decode_with_header(self.catalog.read(name))
        label = self.catalog.annotate(name, header)
        size = self.shape[1:]
        if self.catalog.task == "detection":
            canvas, mapping = letterbox(pixels, size, self.color, centred=self.centred)
            self.images[index] = canvas[0]
            kept = clip_boxes(label, pixels.shape[:2])
            self.dropped.extend([name] * (len(label) - len(kept)))
            kept[:, :4] = mapping.to_input(kept[:, :4])
            return kept.astype(np.float32)
        if self.masks is not None:
            if label.shape != pixels.shape[:2]:
                raise DataError(f"the image is {pixels.shape[:2]}, its mask {label.shape}")
            self.masks[index] = resize_mask(label, size, len(self.catalog.classes))
        self.images[index] = to_input(pixels, size, self.shape[0])[0]
        if self.masks is None:
            return label
        return "marked" if has_foreground(label[None])[0] else "clean"

    def finish(self, split: Split, jobs: Sequence[tuple[int, str]], results: list[Any]) -> ImageSet:
        """The set of the images that could be read."""
        good = np.array([index for index, _ in jobs])
        names = [name for _, name in jobs]
        images, labels = self.images, self.masks
        if len(good) < len(images):
            images = take_rows(images, good)
            labels = None if labels is None else take_rows(labels, good)
        groups = np.array(results) if labels is not None else None
        if (group_of := self.catalog.group_of) is not None:
            groups = np.array([group_of(name) for name in names])
        if labels is None:
            is_class = self.catalog.task == "classification"
            labels = np.array(results, np.int64) if is_class else as_labels(results)
        order = self.catalog.sequence_index_of
        index = None if order is None else np.array([order(name) for name in names], np.int64)
        facts = {"groups": groups, "sequence_index": index}
        return ImageSet(self.catalog.name, split, images, labels, self.catalog.classes, **facts)


def read_each(
    jobs: Sequence[Any], read: Callable[[Any], T]
) -> tuple[list[tuple[Any, T]], list[tuple[Any, str]]]:
    """Do every job, several at once, in order: what came of it, and why others failed.

    A job fails by OSError, DataError, ValueError or a broken archive.
    """

    def attempt(job: Any) -> tuple[T | None, str]:
        try:
            return read(job), ""
        except UNREADABLE as error:
            return None, str(error) or type(error).__name__

    good: list[tuple[Any, T]] = []
    broken: list[tuple[Any, str]] = []
    # Pillow decodes outside of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in _blocks(jobs):
            for job, (result, why) in zip(block, pool.map(attempt, block), strict=True):
                if result is None:
                    broken.append((job, why))
                else:
                    good.append((job, result))
    return good, broken


def _blocks(jobs: Sequence[Any], size: int = 512) -> Iterator[list[Any]]:
    """So that few results wait at a time."""
    left = iter(jobs)
    while block := list(islice(left, size)):
        yield block


def warn_left_out(dataset: str, names: Sequence[str], what: str) -> None:
    """Say how many are left out, and which files the first ones are (in); nothing for none."""
    if names:
        logger.warning(
            "%s: %d %s and are left out: %s", dataset, len(names), what, name_some(names)
        )


def clip_boxes(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels ``[k, 5]`` cut off at the edges of an image of ``(height, width)``.

    Without those that have no area there.
    """
    height, width = size
    clipped = labels.astype(np.float64)
    clipped[:, :4] = np.clip(clipped[:, :4], 0, (width, height, width, height))
    ordered = (clipped[:, 2:4] > clipped[:, :2]).all(axis=1)  # a NaN is not
    return clipped[ordered & (areas(clipped[:, :4]) > 0)]


def _first_size(catalog: Catalog, names: Sequence[str]) -> tuple[int, int]:
    """The size of the first image that can be read."""
    reason = ""
    for name in names:
        try:
            pixels = decode_with_header(catalog.read(name))[0]
        except UNREADABLE as error:
            reason = reason or f"; {name}: {error}"
            continue
        return pixels.shape[0], pixels.shape[1]
    raise DataError(f"{catalog.name}: none of {len(names)} images can be read{reason}")
