"""Labelled pictures that fit into memory, by data set name and split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError
from ...settings import is_offline
from .idx import read_idx
from .sources import candidate_folders, download_folder, find_dataset, network_timeout

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ImageSet(Dataset):
    """``images`` uint8 ``[N, C, H, W]`` in 0..255 and ``labels`` int64 ``[N]``."""

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray

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

    def sample(self, count: int, seed: int = 0) -> ImageSet:
        """``count`` pictures drawn without replacement, for calibration."""
        rng = np.random.default_rng(seed)
        return self.subset(rng.permutation(len(self))[:count])


def load_images(name: str, split: Split, data: Path | None = None) -> ImageSet:
    """Load data set ``name``.

    Args:
        name: ``mnist``, or ``digits`` (scikit-learn's 1,797 real handwritten digits, always here).
        split: ``train`` or ``test``.
        data: the folder to look in; by default see :mod:`edgeark.training.data.sources`.

    Raises:
        DataError: unknown name, not found, or broken files.
    """
    try:
        loader = _LOADERS[name]
    except KeyError:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(_LOADERS)}") from None
    return loader(split, data)


def _load_mnist(split: Split, data: Path | None) -> ImageSet:
    prefix = "train" if split == "train" else "t10k"
    folder = find_dataset("mnist", f"{prefix}-images-idx3-ubyte*", data) or _download_mnist()
    images, labels = (
        read_idx(_plain_or_gz(folder, f"{prefix}-{kind}-ubyte"))
        for kind in ("images-idx3", "labels-idx1")
    )
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(f"{folder}: {images.shape} pictures do not match {labels.shape} labels")
    return ImageSet("mnist", split, images[:, None], labels.astype(np.int64))


def _plain_or_gz(folder: Path, stem: str) -> Path:
    plain = folder / stem
    return plain if plain.exists() else plain.with_name(stem + ".gz")


def _download_mnist() -> Path:
    from torchvision.datasets import MNIST

    root = download_folder("mnist")
    try:
        if is_offline():
            raise OSError("offline")
        with network_timeout(10):
            MNIST(str(root), download=True)
    except (RuntimeError, OSError) as error:
        looked = ", ".join(str(folder) for folder in candidate_folders("mnist"))
        reason = str(error).splitlines()[0].rstrip(":")
        raise DataError(
            f"MNIST is in none of {looked} and cannot be downloaded ({reason}); "
            "name its folder with --data"
        ) from None
    return root / "MNIST" / "raw"


def _load_digits(split: Split, data: Path | None) -> ImageSet:
    """8x8 digits, enlarged to MNIST's frame: 20 pixels of digit in the middle of 28."""
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate

    values, target = load_digits(return_X_y=True)
    small = torch.from_numpy(values.astype(np.float32)).view(-1, 1, 8, 8) * (255 / 16)
    large = interpolate(small, size=(20, 20), mode="bicubic", align_corners=False)
    framed = torch.nn.functional.pad(large.clamp(0, 255).round().to(torch.uint8), (4, 4, 4, 4))
    everything = ImageSet("digits", split, framed.numpy(), target.astype(np.int64))
    train, test = everything.split_off(1000)
    return train if split == "train" else test


_LOADERS: dict[str, Callable[[Split, Path | None], ImageSet]] = {
    "mnist": _load_mnist,
    "digits": _load_digits,
}
