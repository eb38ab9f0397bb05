"""YOLO's txt: a line an object, class and box (or polygon) as shares of the image's sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml

from ...errors import DataError
from .boxes import corners_of, parts_by_folder, rows_of
from .catalog import PART_NAMES, Catalog, Kind
from .files import Files, stem_of
from .findings import Finding
from .formats import FolderFormat, Request, register_format
from .images import Split
from .pixels import ImageHeader

_CLASS_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_PIXELS = 2.0  # no share of a side is larger, even of a box that reaches over an edge


@register_format
class YoloTxt(FolderFormat):
    """``images/*`` and ``labels/<same stem>.txt``, below ``train``, ``val``, ``test`` or not.

    Class names are in ``classes.txt``, a name a line, or in ``data.yaml``. A line is class, centre
    x and y, width and height, or class and the corners of a polygon, around which the box is put.
    An image without a txt file is one without objects.
    """

    name = "yolo_txt"
    guess_rank = 1
    summary = "images/*, labels/*.txt, and classes.txt or data.yaml"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "detection"):
            return False
        named = any(n.split("/")[-1] in _CLASS_FILES for n in files.names)
        return bool(_yaml_file(files)) or (
            named and (bool(_label_files(files)) or not _has_mask_folder(files))
        )

    def list(self, files: Files, request: Request) -> Catalog:
        classes, listed = _classes(files)
        images = list(files.images)
        labels = _label_files(files)
        text_of = {image: t for image in images if (t := _label_of(image, labels)) is not None}
        if not text_of:
            raise DataError(_no_label_fits(files, images, labels))
        findings = _check_names(images, text_of)
        findings += _check_indices(files, text_of, classes)
        parts, is_drawn = (listed, False) if listed else parts_by_folder(images)

        def annotate(image: str, header: ImageHeader) -> np.ndarray:
            name = text_of.get(image)
            lines = files.lines(name) if name else []
            return parse_lines(lines, len(classes), header.size)

        return Catalog(
            files.name, "detection", classes, parts, files.read, annotate, tuple(findings), is_drawn
        )


def parse_lines(lines: Sequence[str], num_classes: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes ``[k, 5]`` in pixels of an image of ``(height, width)``.

    Raises:
        DataError: a line is no box; the message says which and why.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            values = [float(value) for value in line.split()]
        except ValueError:
            raise DataError(f"line {number} is no list of numbers: {line[:40]!r}") from None
        if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
            raise DataError(f"line {number} has {len(values)} values instead of 5")
        index, *rest = values
        if index not in range(num_classes):
            raise DataError(f"line {number}: class {index:g}, but there are {num_classes}")
        if not np.isfinite(rest).all():
            raise DataError(f"line {number} holds no finite numbers")
        if max(map(abs, rest)) > _PIXELS:
            raise DataError(
                f"line {number}: coordinates are pixels, not shares of the image's sides"
            )
        if len(rest) == 4:
            x, y, width, height = rest
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        else:
            corners = corners_of(list(zip(rest[::2], rest[1::2], strict=True)))
        scaled = [c * s for c, s in zip(corners, (size[1], size[0]) * 2, strict=True)]
        rows.append([*scaled, index])
    return rows_of(rows)


def _label_files(files: Files) -> dict[str, str]:
    """Text files that may be labels, by path without suffix."""
    skipped = (*_CLASS_FILES, "train.txt", "val.txt", "test.txt", "readme.txt", "requirements.txt")
    return {
        name[:-4]: name
        for name in files.with_suffix(".txt")
        if name.split("/")[-1].lower() not in skipped
    }


def _label_of(image: str, labels: dict[str, str]) -> str | None:
    """The label file of an image: ``labels`` in place of ``images`` in its path, or beside it."""
    stem = str(PurePosixPath(image).with_suffix(""))
    folders = stem.split("/")
    candidates = [stem, f"labels/{folders[-1]}"]
    for place, folder in enumerate(folders[:-1]):
        if folder.lower() == "images":
            candidates.append("/".join([*folders[:place], "labels", *folders[place + 1 :]]))
    if len(folders) > 1:
        candidates.append("/".join([*folders[:-2], "labels", folders[-1]]))
        candidates.append("/".join([*folders[:-1], "labels", folders[-1]]))
    return next((labels[c] for c in reversed(candidates) if c in labels), None)


def _no_label_fits(files: Files, images: Sequence[str], labels: dict[str, str]) -> str:
    wanted = f"labels/{stem_of(images[0])}.txt"
    if not labels:
        return f"{files.name}: no label file fits an image: there is no labels/*.txt"
    example = next(iter(labels.values()))
    if any(name.rsplit(".", 1)[-1].lower() in ("jpg", "jpeg", "png", "bmp") for name in labels):
        return f"{files.name}: no label file fits an image: rename {example} to {wanted}, and so on"
    return (
        f"{files.name}: no label file fits an image: {images[0]} needs {wanted}, and there is "
        f"{example}"
    )


def _check_names(images: Sequence[str], text_of: dict[str, str]) -> list[Finding]:
    findings = []
    shared = {text for text, count in Counter(text_of.values()).items() if count > 1}
    twins = [image for image in images if text_of.get(image) in shared]
    if twins:
        what = "images share one label file, as they have one name: give each a name of its own"
        findings.append(Finding.of("error", "shared-label", f"{len(twins)} {what}", twins))
    lacking = [image for image in images if image not in text_of]
    if lacking:
        severity = "warning" if len(lacking) > len(images) / 2 else "info"
        what = f"of {len(images)} images have no label file and count as images without objects"
        findings.append(Finding.of(severity, "no-label", f"{len(lacking)} {what}", lacking))
    return findings


def _check_indices(
    files: Files, text_of: dict[str, str], classes: tuple[str, ...]
) -> list[Finding]:
    """An error where classes are counted from 1."""
    seen: set[int] = set()
    for name in text_of.values():
        try:
            seen.update(int(float(line.split()[0])) for line in files.lines(name))
        except (ValueError, OverflowError, DataError):
            continue  # named when its image is read
    if seen and min(seen) >= 1 and max(seen) == len(classes):
        message = (
            f"classes are counted from {min(seen)} to {max(seen)}, and there are {len(classes)} "
            "names: YOLO counts from 0"
        )
        return [Finding("error", "counted-from-1", message)]
    return []


def _yaml_file(files: Files) -> str | None:
    for name in files.names:
        if name.count("/") == 0 and name.lower().endswith((".yaml", ".yml")):
            try:
                document = yaml.safe_load(files.text(name))
            except (yaml.YAMLError, DataError, RecursionError):
                continue
            if isinstance(document, dict) and "names" in document:
                return name
    return None


def _has_mask_folder(files: Files) -> bool:
    return any("mask" in part.lower() for name in files.images for part in name.split("/")[:-1])


def _classes(files: Files) -> tuple[tuple[str, ...], dict[Split, tuple[str, ...]]]:
    """Names of the classes, and the parts where ``data.yaml`` names folders for them."""
    for name in _CLASS_FILES:
        for place in (name, f"labels/{name}", f"data/{name}"):
            if place in files.present:
                return tuple(files.lines(place)), {}
    found = _yaml_file(files)
    if found is None:
        raise DataError(f"write the class names, one a line, to {files.root / 'classes.txt'}")
    document: dict[str, Any] = yaml.safe_load(files.text(found))
    names = document["names"]
    try:
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        classes = tuple(str(entry) for entry in names)
    except (TypeError, ValueError):
        classes = ()
    if not classes or isinstance(document["names"], str):
        raise DataError(f"{found}: `names` is no list of class names")
    return classes, _listed_parts(files, document, found)


def _listed_parts(
    files: Files, document: dict[str, Any], found: str
) -> dict[Split, tuple[str, ...]]:
    """Images below the folders, or in the lists, that ``train``, ``val`` and ``test`` name.

    Nothing where they name no parts, or one and the same.
    """
    parts: dict[Split, tuple[str, ...]] = {}
    for split, aliases in PART_NAMES.items():
        stated = next((document[alias] for alias in aliases if document.get(alias)), None)
        entries = stated if isinstance(stated, list) else [stated] if stated else []
        images: list[str] = []
        for entry in entries:
            path = _inside(str(entry), str(document.get("path") or ""), files)
            if path in files.present and path.endswith(".txt"):
                images += [n for line in files.lines(path) if (n := _inside(line, "", files))]
            else:
                images += files.images_below(path) if path else []
        if images:
            parts[split] = tuple(n for n in images if n in files.present)
    if len({frozenset(names) for names in parts.values()}) < 2 or not parts.get("train"):
        return {}
    return parts


def _inside(stated: str, base: str, files: Files) -> str:
    """A path of data.yaml, which may be another machine's, as a path below the top."""
    parts = [
        p for p in f"{base}/{stated}".replace("\\", "/").split("/") if p not in ("", ".", "..")
    ]
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if path in files.present or any(name.startswith(f"{path}/") for name in files.images):
            return path
    return ""
