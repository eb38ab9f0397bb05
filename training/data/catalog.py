"""A data set that is listed and not read yet: parts, classes, and how to get at each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ...errors import DataError, MissingPartError
from .findings import Finding
from .images import Shape, Split
from .pixels import ImageHeader

Kind = Literal["classification", "segmentation", "detection"]  # of annotations

# The annotation of an image: int, the class; float64 [k, 5], boxes x1, y1, x2, y2 in pixels of the
# upright image and their class; uint8 [h, w], a mask of the upright image.
Annotate = Callable[[str, ImageHeader], Any]

_TEST_SHARE = 0.2
PART_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Catalog:
    """What a format found in a folder.

    ``parts`` are the data set's own; where there is none, ``train`` and ``test`` are drawn.
    ``groups`` and ``sequence_index`` say of an image what :class:`~.images.ImageSet` holds.
    ``is_indexed`` is true where the mask of one class counts it from 1, see ``ImageSet``.
    """

    name: str
    task: Kind
    classes: tuple[str, ...]
    parts: Mapping[Split, tuple[str, ...]]
    read: Callable[[str], bytes]
    annotate: Annotate
    findings: tuple[Finding, ...] = ()
    is_drawn: bool = False
    default_shape: Shape | None = None
    group_of: Callable[[str], str] | None = None
    sequence_index_of: Callable[[str], int] | None = None

    def part(self, split: Split) -> tuple[str, ...]:
        """The images of a split. Without a test part the validation part is the test part.

        Raises:
            MissingPartError: there is none.
        """
        parts = dict(self.parts)
        if "test" not in parts and "val" in parts:
            parts["test"] = parts.pop("val")
        if not parts.get(split):
            hint = "; set val_size in the recipe" if split == "val" else ""
            raise MissingPartError(f"{self.name} has no {split} part{hint}")
        return parts[split]

    def pick(self, names: Sequence[str]) -> Catalog:
        """The same with some images alone, all in ``train``."""
        return replace(self, parts={"train": tuple(names)})

    @property
    def names(self) -> tuple[str, ...]:
        """All images, part by part."""
        return tuple(name for names in self.parts.values() for name in names)


def draw_parts(
    names: Sequence[str], labels: Sequence[Any] | None = None
) -> dict[Split, tuple[str, ...]]:
    """Every fifth image, drawn once and for all, is a test image; of every class its share.

    A class of one image keeps it in ``train``.

    Args:
        names: sorted, so that the draw depends on nothing else.
        labels: one an image, for classification.

    Raises:
        DataError: there are fewer than two images.
    """
    if len(names) < 2:
        raise DataError(f"{len(names)} images: too few to train on some and test on others")
    order = np.random.default_rng(0).permutation(len(names))
    held = np.zeros(len(names), bool)
    kinds = np.zeros(len(names)) if labels is None else np.asarray(labels)
    for kind in np.unique(kinds):
        members = order[kinds[order] == kind]
        count = min(max(1, round(_TEST_SHARE * len(members))), len(members) - 1)
        held[members[:count]] = True
    if not held.any():
        held[order[: max(1, round(_TEST_SHARE * len(names)))]] = True
    return {
        "train": tuple(name for name, is_test in zip(names, held, strict=True) if not is_test),
        "test": tuple(name for name, is_test in zip(names, held, strict=True) if is_test),
    }


def part_of(folder: str) -> Split | None:
    """Which part a folder's name stands for; None for another name."""
    for split, names in PART_NAMES.items():
        if folder.lower() in names or folder.lower() in [f"{name}2017" for name in names]:
            return split
    return None


def part_on_path(name: str) -> Split | None:
    """The part that a folder on the way to a file stands for; None for no such folder."""
    for folder in name.split("/")[:-1]:
        if (part := part_of(folder)) is not None:
            return part
    return None


def catalog_of_labels(
    name: str,
    read: Callable[[str], bytes],
    label_of: Mapping[str, str],
    split_of: Mapping[str, Split],
    findings: Sequence[Finding],
) -> Catalog:
    """A catalog of images with a class each.

    Raises:
        DataError: fewer than two classes, or a class that no training image has.
    """
    names = sorted(label_of)
    if len(set(label_of.values())) < 2:
        found = f" ({label_of[names[0]]})" if names else ""
        raise DataError(f"{name}: {len(found) and 1} class{found}; two or more are needed")
    parts: dict[Split, tuple[str, ...]]
    is_drawn = not split_of
    if is_drawn:
        parts = draw_parts(names, [label_of[file] for file in names])
    else:
        parted: dict[Split, list[str]] = defaultdict(list)
        for file in names:
            parted[split_of.get(file, "train")].append(file)
        parts = {part: tuple(found) for part, found in parted.items()}
    known = sorted({label_of[file] for file in (names if is_drawn else parts.get("train", ()))})
    for part, listed in parts.items():
        if strange := sorted({label_of[file] for file in listed} - set(known)):
            raise DataError(f"{name}: the class {strange[0]!r} is in {part} and not in train")
    index = {label: number for number, label in enumerate(known)}
    return Catalog(
        name,
        "classification",
        tuple(known),
        parts,
        read,
        lambda file, _: index[label_of[file]],
        tuple(findings),
        is_drawn,
        group_of=lambda file: label_of[file],
    )
