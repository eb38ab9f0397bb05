"""Images with a mask each: a folder of one's own."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from ...errors import DataError
from .boxes import parts_by_folder
from .catalog import Catalog, Kind, part_on_path
from .files import SPLIT_FILE, Files, parse_split, stem_of
from .findings import Finding, name_some
from .formats import FolderFormat, Request, register_format
from .images import Split
from .masks import CLASSES_FILE, MaskRule, parse_classes
from .pixels import ImageHeader

_LABELMAP = "labelmap.txt"  # of CVAT's segmentation masks
_IMAGE_FOLDERS = ("images", "image", "imgs", "jpegimages")
_MASK_FOLDERS = ("masks", "mask", "segmentationclass", "labels", "annotations", "gt")
_ENDINGS = ("", "_mask", "-mask", "_gt", "_label", "_labels", ".mask")


@register_format
class MaskFolder(FolderFormat):
    """``images/*`` and ``masks/<same stem>.*``, or both in ``train``, ``val``, ``test``.

    A file ``split.tsv`` may list ``images/...``; without parts every fifth image, drawn once and
    for all, is a test image. A mask marks what is over half of 255, or is 1 in a file of 0 and 1;
    of a palette of black and white the colours decide. With ``classes.txt``, a name a line and the
    background first, values are indices of these classes; with a colour behind each name, colours
    decide.
    """

    name = "mask_folder"
    guess_rank = 2
    summary = "images/* and masks/<same name>.png, or both in train, val and test"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "segmentation"):
            return False
        return any(name.split("/")[-2].lower() in _MASK_FOLDERS for name in files.images
                   if "/" in name)  # fmt: skip

    def list(self, files: Files, request: Request) -> Catalog:
        masks: dict[str, dict[str, str]] = defaultdict(dict)
        images: list[str] = []
        for name in files.images:
            folders = [folder.lower() for folder in name.split("/")[:-1]]
            if any(folder in _MASK_FOLDERS for folder in folders):
                masks[_part_folder(name)][stem_of(name).lower()] = name
            elif any(folder in _IMAGE_FOLDERS for folder in folders):
                images.append(name)
        if not images:
            raise DataError(f"no images in {files.root / 'images'}")
        mask_of, findings = _pair(images, masks)
        if not mask_of:
            known = sorted(stem for found in masks.values() for stem in found.values())
            raise DataError(
                f"{files.name}: no mask fits an image: {images[0]} needs masks/{stem_of(images[0])}"
                f".png, and there is {name_some(known) or 'none'}"
            )
        rule = _read_rule(files, request)
        parts, is_drawn = _parts(files, images)

        def annotate(name: str, header: ImageHeader) -> np.ndarray:
            if name not in mask_of:
                raise DataError(f"no mask for {name}")
            return rule.read(files.read(mask_of[name]), header)

        return Catalog(
            files.name,
            "segmentation",
            rule.classes or ("foreground",),
            parts,
            files.read,
            annotate,
            tuple(findings),
            is_drawn,
        )


def _part_folder(name: str) -> str:
    """``train`` for ``train/images/1.png`` and ``images/train/1.png``; empty without parts."""
    return part_on_path(name) or ""


def _pair(
    images: list[str], masks: dict[str, dict[str, str]]
) -> tuple[dict[str, str], list[Finding]]:
    """The mask of each image, and what is odd about it."""
    mask_of: dict[str, str] = {}
    for name in images:
        here = masks.get(_part_folder(name)) or masks.get("", {})
        stem = stem_of(name).lower()
        found = next((here[stem + end] for end in _ENDINGS if stem + end in here), None)
        if found is not None:
            mask_of[name] = found
    shared = {mask for mask, count in Counter(mask_of.values()).items() if count > 1}
    twins = [name for name in images if mask_of.get(name) in shared]
    findings = []
    if twins:
        what = "images share one mask, as they have one name: give each a name of its own"
        findings.append(Finding.of("error", "shared-mask", f"{len(twins)} {what}", twins))
    return mask_of, findings


def _parts(files: Files, images: list[str]) -> tuple[dict[Split, tuple[str, ...]], bool]:
    if SPLIT_FILE in files.present:
        table = parse_split(files.read(SPLIT_FILE), files.root / SPLIT_FILE)
        by_file = {PurePosixPath(name).name: name for name in images}
        named: dict[Split, tuple[str, ...]] = {
            part: tuple(by_file.get(PurePosixPath(n).name, n) for n in listed)
            for part, listed in table.items()
        }
        return named, False
    return parts_by_folder(images)


def _read_rule(files: Files, request: Request) -> MaskRule:
    """What ``classes.txt`` or ``labelmap.txt`` says; of one foreground without either."""
    for name in (CLASSES_FILE, _LABELMAP):
        if name in files.present:
            return replace(parse_classes(files.lines(name), name), ignore=request.ignore)
    return MaskRule(ignore=request.ignore)
