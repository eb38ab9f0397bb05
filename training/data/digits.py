"""Handwritten digits: MNIST from its idx files, and the small set that scikit-learn brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ...settings import is_offline
from .idx import read_idx
from .images import ImageSet, Shape, Split
from .sources import candidate_folders, download_folder, find_dataset, network_timeout

_CLASSES = tuple(str(digit) for digit in range(10))


def load_mnist(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """MNIST: 60,000 images to train on, 10,000 to test; fetched where it is in no folder."""
    prefix = "train" if split == "train" else "t10k"
    folder = find_dataset("mnist", f"{prefix}-images-idx3-ubyte*", data) or _download_mnist()
    images, labels = (
        read_idx(_plain_or_gz(folder, f"{prefix}-{kind}-ubyte"))
        for kind in ("images-idx3", "labels-idx1")
    )
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(f"{folder}: {images.shape} images do not match {labels.shape} labels")
    found = ImageSet("mnist", split, images[:, None], labels.astype(np.int64), _CLASSES)
    return found.sample(sample).resized(shape)


def load_digits(
    split: Split, data: Path | None, shape: Shape | None, sample: int | None
) -> ImageSet:
    """8x8 digits, enlarged to MNIST's frame: 20 pixels of digit in the middle of 28."""
    import torch
    from sklearn.datasets import load_digits as load_bundled
    from torch.nn.functional import interpolate, pad

    values, target = load_bundled(return_X_y=True)
    small = torch.from_numpy(values.astype(np.float32)).view(-1, 1, 8, 8) * (255 / 16)
    large = interpolate(small, size=(20, 20), mode="bicubic", align_corners=False)
    framed = pad(large.clamp(0, 255).round().to(torch.uint8), (4, 4, 4, 4))
    everything = ImageSet("digits", split, framed.numpy(), target.astype(np.int64), _CLASSES)
    train, test = everything.split_off(1000)
    return (train if split == "train" else test).sample(sample).resized(shape)


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
