"""Data sets by name: where they are found, and one adapter a format."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from .digits import load_digits, load_mnist
from .folders import load_cifar10, load_image_folder, load_sign_digits
from .images import ImageSet, Shape, Split
from .masks import load_magnetic_tile, load_mask_folder
from .sources import find_dataset

__all__ = ["ImageSet", "find_dataset", "load_images"]

_LOADERS = {
    "mnist": load_mnist,
    "digits": load_digits,
    "cifar10": load_cifar10,
    "sign_digits": load_sign_digits,
    "image_folder": load_image_folder,
    "magnetic_tile": load_magnetic_tile,
    "mask_folder": load_mask_folder,
}


def load_images(
    name: str,
    split: Split,
    data: Path | None = None,
    *,
    shape: Shape | None = None,
    sample: int | None = None,
) -> ImageSet:
    """Load data set ``name``.

    Args:
        name: ``mnist``, ``digits`` (scikit-learn's 1,797 real handwritten digits, always here),
            ``cifar10``, ``sign_digits``, ``magnetic_tile``; for a folder of one's own
            ``image_folder``, or with masks ``mask_folder``.
        split: ``train`` or ``test``.
        data: the folder to look in; by default see :mod:`edgeark.training.data.sources`.
        shape: the network's ``(channels, height, width)``: the pictures are brought to it.
        sample: only so many pictures, drawn at random, the same ones every time.

    Raises:
        DataError: unknown name, not found, or broken files.
    """
    try:
        loader = _LOADERS[name]
    except KeyError:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(_LOADERS)}") from None
    return loader(split, data, shape, sample)
