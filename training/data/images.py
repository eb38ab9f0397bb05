"""Labelled images as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError
from ...zoo.tasks.images import to_input
from .store import Array, take_rows

Split = Literal["train", "val", "test"]
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class ImageSet(Dataset):
    """``images`` uint8 ``[N, C, H, W]`` in 0..255, and what is known of each of them.

    Large ones are kept on disk and read as they are asked for (:mod:`.store`).

    ``labels`` is int64 ``[N]`` for classification, uint8 masks ``[N, H, W]`` for segmentation, and
    for detection an object array ``[N]`` of float32 ``[k, 5]``: x1, y1, x2, y2 in pixels of
    ``images``, class. ``classes`` are the names behind the numbers. Where the data set has them,
    ``groups`` names each image's category, and ``sequence_index`` orders images such that those of
    one object are neighbours.
    """

    name: str
    split: str
    images: Array
    labels: Any
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    sequence_index: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: picking rows of an array is far cheaper than collating items."""
        return torch.from_numpy(self.images[indices]), torch.from_numpy(self.labels[indices])

    def subset(self, indices: np.ndarray) -> ImageSet:
        keys = ("images", "labels", "groups", "sequence_index")
        known = {key: value for key in keys if (value := getattr(self, key)) is not None}
        return replace(self, **{key: take_rows(value, indices) for key, value in known.items()})

    def head(self, count: int | None) -> ImageSet:
        """The first ``count`` images (all of them for None); see :meth:`stratified`."""
        return self.subset(np.arange(len(self) if count is None else min(count, len(self))))

    def stratified(self, count: int | None = None) -> ImageSet:
        """``count`` images, an equal share of each class, drawn once and for all.

        Classes take turns until they are used up, so that a :meth:`head` of the result is such a
        draw as well; None keeps every image, in that order. See :meth:`strata`.
        """
        return self.subset(take_turns(self.strata())[:count])

    def strata(self) -> np.ndarray:
        """What a draw balances, int ``[N]``: the class; of an image with boxes, its rarest class
        (-1 without boxes); of a mask, the image's group.
        """
        if self.labels.ndim > 1:
            groups = np.zeros(len(self)) if self.groups is None else self.groups
            return np.unique(groups, return_inverse=True)[1]
        if self.labels.dtype != object:
            return np.asarray(self.labels)
        present = [np.unique(rows[:, 4].astype(np.int64)) for rows in self.labels]
        counts = Counter(np.concatenate([*present, np.zeros(0, np.int64)]).tolist())
        return np.array([min(p.tolist(), key=counts.__getitem__, default=-1) for p in present])

    def split_off(self, count: int) -> tuple[ImageSet, ImageSet]:
        """Hold out ``count`` images, drawn once and for all: (the rest, the held-out ones).

        Of each group its share, so that ``count`` is met roughly. Where the images are numbered,
        a draw would put one object's into both parts: there each group is cut in two, at a gap
        between its numbers.
        """
        if not 0 < count < len(self):
            raise DataError(
                f"{self.name} has {len(self)} images to train on, too few to hold out {count} for "
                "validation"
            )
        groups = np.zeros(len(self)) if self.groups is None else self.groups
        if self.sequence_index is not None:
            held = held_out_ranges(self.sequence_index, groups, count / len(self))
        else:
            held = held_out_draw(groups, count / len(self))
        return self.subset(np.flatnonzero(~held)), self.subset(np.flatnonzero(held))

    def sample(self, count: int | None) -> ImageSet:
        """``count`` images drawn without replacement (all, in order, for None)."""
        return self if count is None else self.subset(draw(len(self), count))

    def resized(self, shape: Shape | None) -> ImageSet:
        """The same images in a network's ``(channels, height, width)``; None keeps theirs."""
        if shape is None or self.images.shape[1:] == shape:
            return self
        pictures = [to_input(p.transpose(1, 2, 0), shape[1:], shape[0]) for p in self.images]
        return replace(self, images=np.concatenate(pictures))


def held_out_draw(groups: np.ndarray, share: float) -> np.ndarray:
    """Which images to hold out, bool ``[N]``: that share of every group, drawn.

    Of a group of two or more at least one is held out, and one is kept.
    """
    held, order = np.zeros(len(groups), bool), np.random.default_rng(0).permutation(len(groups))
    for group in np.unique(groups):
        members = order[groups[order] == group]
        most = len(members) - 1
        held[members[: min(max(1, round(share * len(members))), most)]] = True
    return held


def held_out_ranges(numbers: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """Which images to hold out, bool ``[N]``: the highest numbers of every group.

    The cut lies in the widest gap that leaves between half and three halves of ``share`` behind it.
    A group of one image keeps it.
    """
    held = np.zeros(len(numbers), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        members = members[np.argsort(numbers[members], kind="stable")]
        total = len(members)
        first = min(max(1, round(total * (1 - 1.5 * share))), total - 1)
        last = min(max(first, round(total * (1 - 0.5 * share))), total - 1)
        if total > 1:
            gaps = np.diff(numbers[members])[first - 1 : last]
            held[members[first + int(gaps.argmax()) :]] = True
    return held


def take_turns(strata: np.ndarray) -> np.ndarray:
    """An order of all rows in which strata take turns, int ``[N]``: the same one every time.

    Rows of a stratum come in a drawn order, and so do the strata themselves.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(strata))
    turns = np.zeros(len(strata), np.int64)
    ranks = np.zeros(len(strata), np.int64)
    values = np.unique(strata)
    for place, value in zip(rng.permutation(len(values)), values, strict=True):
        members = order[strata[order] == value]
        turns[members], ranks[members] = np.arange(len(members)), place
    return np.lexsort((ranks, turns))


def draw(total: int, count: int) -> np.ndarray:
    """The indices of a sample: the same ones every time."""
    return np.random.default_rng(0).permutation(total)[:count]


def as_labels(rows: Iterable[np.ndarray]) -> np.ndarray:
    """An object array ``[N]`` of the arrays, even where all of them have one shape."""
    listed = list(rows)
    labels = np.empty(len(listed), object)
    for index, array in enumerate(listed):
        labels[index] = array
    return labels
