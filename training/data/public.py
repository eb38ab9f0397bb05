"""Public data sets by name: MNIST, scikit-learn's digits, CIFAR-10, hand signs, tiles, cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import numpy as np

from ...core.network import network_timeout
from ...core.settings import is_offline
from ...errors import DataError, MissingPartError
from .catalog import Catalog
from .files import SPLIT_FILE, Files, open_zip, parent_of, read_split
from .formats import DatasetFormat, FileFormat, Request, register_format
from .idx import read_idx
from .images import ImageSet, Shape, Split
from .masks import MaskRule
from .pixels import ImageHeader
from .sources import candidate_folders, download_folder, find_dataset
from .voc import list_voc

_DIGITS = tuple(str(digit) for digit in range(10))
_CELLS = ("RBC", "WBC", "Platelets")


@register_format
class Mnist(DatasetFormat):
    """60,000 images to train on, 10,000 to test; fetched where it is in no folder."""

    name = "mnist"
    summary = "MNIST's idx files"
    is_own = False

    def load(self, split: Split, request: Request) -> ImageSet:
        _no_val_part(self.name, split)
        prefix = "train" if split == "train" else "t10k"
        marker = f"{prefix}-images-idx3-ubyte*"
        folder = find_dataset("mnist", marker, request.data) or _download_mnist()
        images, labels = (
            read_idx(_plain_or_gz(folder, f"{prefix}-{kind}-ubyte"))
            for kind in ("images-idx3", "labels-idx1")
        )
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(f"{folder}: {images.shape} images do not match {labels.shape} labels")
        found = ImageSet("mnist", split, images[:, None], labels.astype(np.int64), _DIGITS)
        return found.sample(request.sample).resized(request.shape)


@register_format
class Digits(DatasetFormat):
    """scikit-learn's 1,797 handwritten digits of 8x8, enlarged to MNIST's frame; always here."""

    name = "digits"
    summary = "scikit-learn's digits, which are installed with it"
    is_own = False

    def load(self, split: Split, request: Request) -> ImageSet:
        import torch
        from sklearn.datasets import load_digits
        from torch.nn.functional import interpolate, pad

        _no_val_part(self.name, split)
        values, target = load_digits(return_X_y=True)
        small = torch.from_numpy(values.astype(np.float32)).view(-1, 1, 8, 8) * (255 / 16)
        large = interpolate(small, size=(20, 20), mode="bicubic", align_corners=False)
        framed = pad(large.clamp(0, 255).round().to(torch.uint8), (4, 4, 4, 4))
        everything = ImageSet("digits", split, framed.numpy(), target.astype(np.int64), _DIGITS)
        train, test = everything.split_off(1000)
        chosen = train if split == "train" else test
        return chosen.sample(request.sample).resized(request.shape)


@register_format
class Cifar10(FileFormat):
    """CIFAR-10 as JPEG files in ``train.zip`` and ``test.zip``: 50,000 and 10,000 of 32x32."""

    name = "cifar10"
    summary = "train.zip and test.zip of <class>/*.jpg"
    is_own = False

    def open(self, request: Request) -> Catalog:
        folder = require(self.name, "train.zip", request.data)
        splits: tuple[Split, ...] = ("train", "test")
        archives: dict[Split, ZipFile] = {
            s: open_zip(path) for s in splits if (path := folder / f"{s}.zip").exists()
        }
        owner = {name: archive for archive in archives.values() for name in archive.namelist()}
        parts: dict[Split, tuple[str, ...]] = {}
        for split, archive in archives.items():
            parts[split] = tuple(sorted(n for n in archive.namelist() if _is_jpeg(n)))
        return _by_folder(self.name, parts, lambda name: owner[name].read(name), (3, 32, 32))


@register_format
class SignDigits(FileFormat):
    """Hands that show the digits 0 to 9, split by person: 1,625 and 437 of 100x100."""

    name = "sign_digits"
    summary = "Dataset/<digit>/* and split.tsv"
    is_own = False

    def open(self, request: Request) -> Catalog:
        folder = require(self.name, SPLIT_FILE, request.data)
        parts: dict[Split, tuple[str, ...]] = {
            part: tuple(sorted(names)) for part, names in _stated_parts(folder).items()
        }
        return _by_folder(self.name, parts, lambda n: (folder / n).read_bytes(), (3, 100, 100))


@register_format
class MagneticTile(FileFormat):
    """Magnetic tiles with surface defects (Huang et al.): 1,074 and 270, of 103x222 to 632x403.

    Most are clean. ``groups`` are the folders: Blowhole, Break, Crack, Fray, Uneven and Free.
    ``sequence_index`` is the number in a file's name: the exposures of one tile are neighbours.
    """

    name = "magnetic_tile"
    summary = "MT_<defect>/Imgs/* and split.tsv"
    is_own = False

    def open(self, request: Request) -> Catalog:
        folder = require(self.name, SPLIT_FILE, request.data)
        rule = MaskRule()

        def annotate(name: str, header: ImageHeader) -> np.ndarray:
            mask = folder / PurePosixPath(name).with_suffix(".png")
            return rule.read(mask.read_bytes(), header)

        return Catalog(
            self.name,
            "segmentation",
            ("defect",),
            _stated_parts(folder),
            lambda name: (folder / name).read_bytes(),
            annotate,
            default_shape=(1, 224, 224),
            group_of=lambda name: PurePosixPath(name).parts[0].removeprefix("MT_"),
            sequence_index_of=_number,
        )


@register_format
class Bccd(FileFormat):
    """Blood cells in boxes: red and white ones and platelets, 364 images of 640x480."""

    name = "bccd"
    summary = "BCCD/ as PASCAL VOC's"
    is_own = False

    def open(self, request: Request) -> Catalog:
        folder = require(self.name, "BCCD/ImageSets/Main/*.txt", request.data)
        return list_voc(Files.open(folder / "BCCD"), _CELLS, self.name)


def require(name: str, marker: str, data: Path | None) -> Path:
    """The folder of data set ``name``; see :func:`~edgeark.training.data.sources.find_dataset`.

    Raises:
        DataError: it is nowhere.
    """
    if (folder := find_dataset(name, marker, data)) is None:
        raise DataError(f"the data set {name} is not here: name its folder with --data")
    return folder


def _no_val_part(name: str, split: Split) -> None:
    if split == "val":
        raise MissingPartError(f"{name} has no val part; set val_size in the recipe")


def _by_folder(
    name: str,
    parts: Mapping[Split, tuple[str, ...]],
    read: Callable[[str], bytes],
    shape: Shape,
) -> Catalog:
    classes = sorted({parent_of(n).split("/")[-1] for n in parts.get("train", ())})
    index = {label: number for number, label in enumerate(classes)}

    def annotate(image: str, _: ImageHeader) -> int:
        return index[parent_of(image).split("/")[-1]]

    return Catalog(
        name, "classification", tuple(classes), parts, read, annotate, default_shape=shape
    )


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg"))


def _stated_parts(folder: Path) -> dict[Split, tuple[str, ...]]:
    stated = read_split(folder / SPLIT_FILE)
    return {part: tuple(names) for part, names in stated.items()}


def _number(name: str) -> int:
    """The number at the end of a file's name; 0 for none."""
    found = re.search(r"(\d+)$", PurePosixPath(name).stem)
    return int(found[1]) if found else 0


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
