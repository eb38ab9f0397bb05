"""Labelled pictures that fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError
from ...zoo.tasks.pictures import to_input

Split = Literal["train", "val", "test"]
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class ImageSet(Dataset):
    """``images`` uint8 ``[N, C, H, W]`` in 0..255, and what is known of each of them.

    ``labels`` is int64 ``[N]`` for classification, and for detection an object array ``[N]`` of
    float32 ``[k, 5]``: x1, y1, x2, y2 in pixels of ``images``, class. ``classes`` are the names
    behind the numbers.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: picking rows of an array is far cheaper than collating items."""
        return torch.from_numpy(self.images[indices]), torch.from_numpy(self.labels[indices])

    def subset(self, indices: np.ndarray) -> ImageSet:
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def head(self, count: int | None) -> ImageSet:
        """The first ``count`` pictures (all of them for None)."""
        return self.subset(np.arange(len(self) if count is None else min(count, len(self))))

    def split_off(self, count: int) -> tuple[ImageSet, ImageSet]:
        """Hold out ``count`` pictures, drawn once and for all: (the rest, the held-out ones)."""
        if not 0 < count < len(self):
            raise DataError(f"cannot hold out {count} of the {len(self)} pictures of {self.name}")
        order = np.random.default_rng(0).permutation(len(self))
        return self.subset(np.sort(order[count:])), self.subset(np.sort(order[:count]))

    def sample(self, count: int | None) -> ImageSet:
        """``count`` pictures drawn without replacement (all, in order, for None)."""
        return self if count is None else self.subset(draw(len(self), count))

    def resized(self, shape: Shape | None) -> ImageSet:
        """The same pictures in a network's ``(channels, height, width)``; None keeps theirs."""
        if shape is None or self.images.shape[1:] == shape:
            return self
        pictures = [to_input(p.transpose(1, 2, 0), shape[1:], shape[0]) for p in self.images]
        return replace(self, images=np.concatenate(pictures))


def draw(total: int, count: int) -> np.ndarray:
    """The indices of a sample: the same ones every time."""
    return np.random.default_rng(0).permutation(total)[:count]
