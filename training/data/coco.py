"""COCO's json (Lin et al. 2014): ``images``, ``annotations``, ``categories``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from ...errors import DataError, MissingPartError
from .boxes import ImageFinder, corners_of, parts_by_folder, place_boxes, rows_of
from .catalog import PART_NAMES, Catalog, Kind
from .files import Files, parent_of
from .findings import Finding
from .formats import FolderFormat, Request, register_format
from .images import Split
from .pixels import ImageHeader

_LISTS = ("images", "annotations", "categories")
_OUTSIDE = 0.25  # of the boxes, over their image's edge: they are no x, y, width, height


@register_format
class CocoJson(FolderFormat):
    """A json file a part, ``annotations/*<part>*.json`` or ``<part>/*.json``, or one for all.

    Images are found by the path that the file states, below any folder, else by name. Ids are
    compared as text. Boxes around a crowd are left out; one without a box gets that of its polygon.
    """

    name = "coco_json"
    summary = "images and a COCO json file, annotations/*train*.json or one for all"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "detection"):
            return False
        return any(_looks_like_coco(files, name) for name in files.with_suffix(".json")[:3])

    def list(self, files: Files, request: Request) -> Catalog:
        documents = _documents(files)
        reader = _Reader(ImageFinder(files))
        parts: dict[Split, list[str]] = {
            part: reader.read(name, files) for part, name in documents.items()
        }
        if len(documents) == 1 and "train" in documents:
            names = sorted(parts["train"])
            own, is_drawn = parts_by_folder(names)
        else:
            own: dict[Split, tuple[str, ...]] = {
                part: tuple(names) for part, names in parts.items()
            }
            is_drawn = False
        classes, rows, sizes = reader.classes(), reader.rows, reader.sizes

        def annotate(image: str, header: ImageHeader) -> np.ndarray:
            return place_boxes(rows_of(rows[image]), header, sizes.get(image))

        return Catalog(
            files.name,
            "detection",
            tuple(classes),
            own,
            files.read,
            annotate,
            tuple(reader.findings()),
            is_drawn,
        )


@dataclass
class _Reader:
    """Gathers what json files of one data set say."""

    finder: ImageFinder
    rows: dict[str, list[list[float]]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)  # class names by id, in order
    _left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _missing: list[str] = field(default_factory=list)
    _total: int = 0

    def classes(self) -> list[str]:
        return list(dict.fromkeys(self._labels.values()))

    def read(self, name: str, files: Files) -> list[str]:
        """The images of a file; their boxes are in ``rows``."""
        document = read_document(files, name)
        labels = _categories(document, name)
        if self._labels and list(labels.values()) != list(self._labels.values()):
            raise DataError(f"{name} has other categories than the training part")
        self._labels = labels
        numbers = {label: number for number, label in enumerate(self.classes())}
        image_of: dict[str, str] = {}
        for entry in document["images"]:
            if not isinstance(entry, dict) or not {"id", "file_name"} <= entry.keys():
                raise DataError(f"{name} is not as COCO's: an image without id and file_name")
            stated = str(entry["file_name"])
            image = self.finder.find(stated, parent_of(name)) or stated
            image_of[str(entry["id"])] = image
            self.rows.setdefault(image, [])
            if image not in self.finder:
                self._missing.append(stated)
            if size := _stated_size(entry):
                self.sizes[image] = size
        for entry in document["annotations"]:
            self._total += 1
            self._take(entry, image_of, labels, numbers)
        return list(image_of.values())

    def _take(
        self,
        entry: Any,
        image_of: Mapping[str, str],
        labels: Mapping[str, str],
        numbers: Mapping[str, int],
    ) -> None:
        if not isinstance(entry, dict):
            self._left_out["are no objects"].append(str(entry)[:20])
            return
        name = f"annotation {entry.get('id')}"
        image = image_of.get(str(entry.get("image_id")))
        label = labels.get(str(entry.get("category_id")))
        corners = _corners(entry)
        if image is None:
            self._left_out["are of no image in the list"].append(name)
        elif label is None:
            what = f"have a category_id that no category has ({entry.get('category_id')})"
            self._left_out[what].append(name)
        elif entry.get("iscrowd"):
            self._left_out["are around a crowd"].append(name)
        elif corners is None:
            self._left_out["have no bbox of four numbers"].append(name)
        else:
            self.rows[image].append([*corners, numbers[label]])

    def findings(self) -> list[Finding]:
        found = []
        for what, names in self._left_out.items():
            crowd = "crowd" in what
            many = len(names) > self._total / 2
            severity = "info" if crowd else "error" if many else "warning"
            message = f"{len(names)} of {self._total} annotations {what} and are left out"
            found.append(Finding.of(severity, "left-out", message, names))
        if self._missing:
            message = (
                f"{len(self._missing)} of {len(self.rows)} images are in the json and not here"
            )
            severity = "error" if len(self._missing) > len(self.rows) / 2 else "warning"
            found.append(Finding.of(severity, "missing-image", message, self._missing))
        twice = {n for n in self._labels.values() if list(self._labels.values()).count(n) > 1}
        if twice:
            message = "categories of one name are taken for one class"
            found.append(Finding.of("warning", "duplicate-category", message, sorted(twice)))
        return [*found, *self._check_corners()]

    def _check_corners(self) -> list[Finding]:
        """An error where boxes are x1, y1, x2, y2 and not x, y, width, height."""
        outside = total = 0
        as_corners = True
        for image, rows in self.rows.items():
            if image not in self.sizes:
                continue
            height, width = self.sizes[image]
            for x1, y1, x2, y2, _ in rows:
                total += 1
                outside += x2 > 1.02 * width or y2 > 1.02 * height
                w, h = x2 - x1, y2 - y1
                as_corners = as_corners and w >= x1 and h >= y1 and w <= width and h <= height
        if total and as_corners and outside > _OUTSIDE * total:
            message = (
                f"{outside} of {total} boxes reach over their image: they look like corners x1, "
                "y1, x2, y2, where COCO has x, y, width, height"
            )
            return [Finding("error", "corners", message)]
        return []


def read_document(files: Files, name: str) -> dict[str, Any]:
    """A COCO file.

    Raises:
        DataError: no json, or other json.
    """
    try:
        document = json.loads(files.text(name))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {name}: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(document.get(k), list) for k in _LISTS):
        raise DataError(f"{name} is not as COCO's: an object with the lists {', '.join(_LISTS)}")
    return document


def _looks_like_coco(files: Files, name: str) -> bool:
    content = files.read(name)
    return b'"annotations"' in content and b'"categories"' in content


def _documents(files: Files) -> dict[Split, str]:
    """The json file of each part; the one file of all images as ``train``."""
    names = [name for name in files.with_suffix(".json") if name.count("/") <= 1]
    found: dict[Split, str] = {}
    for split, aliases in PART_NAMES.items():
        hits = sorted(
            name
            for name in names
            if any(a in name.split("/")[-1].lower() or name.startswith(f"{a}/") for a in aliases)
        )
        if len(hits) > 1:
            raise DataError(
                f"which is the {split} part of {files.name}: {', '.join(hits)}? Leave one there"
            )
        if hits:
            found[split] = hits[0]
    if found:
        return found
    if len(names) == 1:
        return {"train": names[0]}
    _lacks(files, names)


def _lacks(files: Files, names: Sequence[str]) -> NoReturn:
    there = f"there are {', '.join(names[:5])}" if names else "there is no json file"
    raise MissingPartError(f"{files.name} has no train part: {CocoJson.summary}; {there}")


def _categories(document: Mapping[str, Any], name: str) -> dict[str, str]:
    """Class names by id as text, in the order of the ids: numbers by value."""
    try:
        pairs = [(entry["id"], str(entry["name"])) for entry in document["categories"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{name} is not as COCO's: categories without {error}") from None
    if not pairs:
        raise DataError(f"{name} has no categories")

    def order(pair: tuple[Any, str]) -> tuple[int, float, str]:
        try:
            return 0, float(pair[0]), ""
        except (TypeError, ValueError):
            return 1, 0.0, str(pair[0])

    return {str(identity): label for identity, label in sorted(pairs, key=order)}


def _stated_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        size = int(entry["height"]), int(entry["width"])
    except (KeyError, TypeError, ValueError):
        return None
    return size if all(side > 0 for side in size) else None


def _corners(entry: Mapping[str, Any]) -> list[float] | None:
    """x1, y1, x2, y2 of ``bbox``, else of the polygons; None for neither."""
    try:
        x, y, width, height = map(float, entry["bbox"])
        return [x, y, x + width, y + height]
    except (KeyError, TypeError, ValueError):
        pass
    polygons = entry.get("segmentation")
    try:
        values = [float(v) for polygon in polygons for v in polygon]  # type: ignore[union-attr]
        return corners_of(list(zip(values[::2], values[1::2], strict=False)))
    except (TypeError, ValueError, DataError):
        return None
