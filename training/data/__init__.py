"""Data sets by name: where they are found, and one adapter a format."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from .box_formats import list_coco, list_voc, list_yolo
from .boxes import BoxListing, Frame, read_boxes
from .digits import load_digits, load_mnist
from .folders import load_cifar10, load_image_folder, load_sign_digits, require
from .images import ImageSet, Shape, Split
from .masks import load_magnetic_tile, load_mask_folder
from .sources import find_dataset

__all__ = ["Frame", "ImageSet", "find_dataset", "load_images"]

_LOADERS = {
    "mnist": load_mnist,
    "digits": load_digits,
    "cifar10": load_cifar10,
    "sign_digits": load_sign_digits,
    "image_folder": load_image_folder,
    "magnetic_tile": load_magnetic_tile,
    "mask_folder": load_mask_folder,
}
_BOX_FORMATS = {"voc_folder": list_voc, "coco_json": list_coco, "yolo_txt": list_yolo}
_BCCD_CLASSES = ("RBC", "WBC", "Platelets")


def load_images(
    name: str,
    split: Split,
    data: Path | None = None,
    *,
    shape: Shape | None = None,
    sample: int | None = None,
    frame: Frame | None = None,
) -> ImageSet:
    """Load data set ``name``.

    Args:
        name: ``mnist``, ``digits`` (scikit-learn's 1,797 real handwritten digits, always here),
            ``cifar10``, ``sign_digits``, ``magnetic_tile``, ``bccd`` (blood cells in boxes); for a
            folder of one's own ``image_folder``, with masks ``mask_folder``, or with boxes
            ``voc_folder``, ``coco_json``, ``yolo_txt``.
        split: ``train``, ``test``, or ``val`` where images with boxes have such a part.
        data: the folder to look in; by default see :mod:`edgeark.training.data.sources`.
        shape: the network's ``(channels, height, width)``: the images are brought to it.
        sample: only so many images, drawn at random, the same ones every time.
        frame: how images with boxes are put into the network's input; by default as YOLOv5.

    Raises:
        DataError: unknown name, not found, or broken files.
    """
    if name == "bccd" or name in _BOX_FORMATS:
        return read_boxes(_list_boxes(name, split, data), split, shape, sample, frame or Frame())
    try:
        loader = _LOADERS[name]
    except KeyError:
        known = ", ".join([*_LOADERS, "bccd", *_BOX_FORMATS])
        raise DataError(f"unknown data set {name!r}; known: {known}") from None
    if split == "val":
        raise DataError(f"{name} has no val part; set val_size in the recipe")
    return loader(split, data, shape, sample)


def _list_boxes(name: str, split: Split, data: Path | None) -> BoxListing:
    if name == "bccd":
        folder = require(name, "BCCD/ImageSets/Main/*.txt", data)
        return list_voc(name, folder / "BCCD", split, _BCCD_CLASSES)
    if data is None or not data.is_dir():
        raise DataError(f"name the folder of your {name} images with --data")
    return _BOX_FORMATS[name](data.resolve().name, data, split)
