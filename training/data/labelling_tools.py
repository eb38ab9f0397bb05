"""What labelling tools export in formats of their own: LabelMe, CVAT, Label Studio."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np

from ...errors import DataError
from .boxes import ImageFinder, corners_of, parts_by_folder, place_boxes, rows_of
from .catalog import Catalog, Kind, catalog_of_labels
from .files import Files
from .findings import Finding
from .formats import FolderFormat, Request, register_format
from .pixels import ImageHeader
from .xml import parse_xml

_MAX_XML = 400_000_000  # of a whole project's annotations
Objects = list[tuple[str, list[float]]]  # label, and x1, y1, x2, y2 in pixels
Stated = tuple[int, int] | None


class _Gathered:
    """Objects by image, as an export names it, and the sizes that it states."""

    def __init__(self, files: Files) -> None:
        self.files, self.finder = files, ImageFinder(files)
        self.objects: dict[str, tuple[Objects, Stated]] = {}
        self.missing: list[str] = []
        self.left_out: list[str] = []

    def add(self, stated: str, objects: Objects, size: Stated, near: str = "") -> None:
        image = self.finder.find(stated, near)
        if image is None:
            self.missing.append(stated)
        else:
            before = self.objects.get(image, ([], None))[0]
            self.objects[image] = ([*before, *objects], size)

    def catalog(self) -> Catalog:
        """All images that the export names; classes are sorted by name.

        Raises:
            DataError: no image is found, or nothing is labelled.
        """
        if not self.objects:
            named = f", {self.missing[0]} for example" if self.missing else ""
            raise DataError(f"{self.files.name}: none of the annotated images is here{named}")
        labels = {label for objects, _ in self.objects.values() for label, _ in objects}
        if not labels:
            raise DataError(f"{self.files.name}: no box and no polygon in the annotations")
        classes = tuple(sorted(labels))
        index = {label: number for number, label in enumerate(classes)}
        parts, is_drawn = parts_by_folder(sorted(self.objects))
        findings = []
        if self.missing:
            what = f"{len(self.missing)} annotated images are not here"
            findings.append(Finding.of("warning", "missing-image", what, self.missing))
        if self.left_out:
            what = f"{len(self.left_out)} objects are neither boxes nor polygons and are left out"
            findings.append(Finding.of("warning", "left-out", what, self.left_out))

        def annotate(image: str, header: ImageHeader) -> np.ndarray:
            objects, size = self.objects[image]
            rows = [[*corners, index[label]] for label, corners in objects]
            return place_boxes(rows_of(rows), header, size)

        return Catalog(
            self.files.name,
            "detection",
            classes,
            parts,
            self.files.read,
            annotate,
            tuple(findings),
            is_drawn,
        )


@register_format
class LabelMe(FolderFormat):
    """LabelMe's json beside each image: rectangles, polygons and circles become boxes."""

    name = "labelme"
    summary = "images and LabelMe's json files beside them"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "detection"):
            return False
        return any(b'"shapes"' in files.read(name) for name in files.with_suffix(".json")[:3])

    def list(self, files: Files, request: Request) -> Catalog:
        gathered = _Gathered(files)
        annotated = set()
        for name in files.with_suffix(".json"):
            document = _load_json(files, name)
            if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
                continue
            stem = name.rsplit(".", 1)[0]
            beside = next((i for i in files.images if i.rsplit(".", 1)[0] == stem), None)
            stated = beside or str(document.get("imagePath") or name)
            objects = _labelme_objects(document["shapes"], name, gathered.left_out)
            folder = name.rpartition("/")[0]
            gathered.add(stated, objects, _size(document, "imageHeight", "imageWidth"), folder)
            annotated.add(stated)
        for image in files.images:
            if image not in gathered.objects:
                gathered.add(image, [], None)
        return gathered.catalog()


def _labelme_objects(shapes: Iterable[Any], name: str, left_out: list[str]) -> Objects:
    found: Objects = []
    for shape in shapes:
        try:
            points = [(float(x), float(y)) for x, y in shape["points"]]
            if shape.get("shape_type") == "circle":
                (x, y), edge = points
                radius = float(np.hypot(edge[0] - x, edge[1] - y))
                points = [(x - radius, y - radius), (x + radius, y + radius)]
            found.append((str(shape["label"]), corners_of(points)))
        except (KeyError, TypeError, ValueError, DataError):
            left_out.append(name)
    return found


@register_format
class CvatXml(FolderFormat):
    """CVAT's "CVAT for images" xml: boxes and polygons, sizes as CVAT saw them."""

    name = "cvat_xml"
    summary = "images and CVAT's annotations.xml"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "detection"):
            return False
        found = files.with_suffix(".xml")
        return len(found) == 1 and b"<annotations" in files.read(found[0])[:2000]

    def list(self, files: Files, request: Request) -> Catalog:
        found = [n for n in files.with_suffix(".xml") if b"<annotations" in files.read(n)[:2000]]
        if not found:
            raise DataError(f"{files.name} has no annotations.xml of CVAT's")
        gathered = _Gathered(files)
        for name in found:
            for entry in parse_xml(files.read(name), _MAX_XML).iter("image"):
                gathered.add(
                    entry.get("name") or "",
                    _cvat_objects(entry, gathered.left_out),
                    _size(entry.attrib, "height", "width"),
                )
        return gathered.catalog()


def _cvat_objects(entry: Any, left_out: list[str]) -> Objects:
    found: Objects = []
    for shape in entry:
        label = shape.get("label") or ""
        try:
            if shape.tag == "box":
                corners = [float(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
            elif shape.tag in ("polygon", "polyline", "points"):
                pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
                corners = corners_of([(float(x), float(y)) for x, y in pairs])
            elif shape.tag == "tag":
                continue
            else:
                raise ValueError(shape.tag)
            found.append((label, corners))
        except (TypeError, ValueError, DataError):
            left_out.append(f"{entry.get('name')} ({shape.tag})")
    return found


@register_format
class LabelStudio(FolderFormat):
    """Label Studio's json export: boxes and polygons, or one choice an image (classification).

    Values are per cent of the sides; the images are found by the names that uploads have.
    """

    name = "label_studio"
    summary = "images and Label Studio's json export"

    def fits(self, files: Files, task: Kind | None) -> bool:
        return bool(_label_studio_tasks(files))

    def list(self, files: Files, request: Request) -> Catalog:
        tasks = _label_studio_tasks(files)
        if not tasks:
            raise DataError(f"{files.name} has no json export of Label Studio's")
        gathered = _Gathered(files)
        label_of: dict[str, str] = {}
        for task in tasks:
            stated = _label_studio_image(task, gathered.finder)
            results = _label_studio_results(task)
            for result in results:
                choices = result.get("value", {}).get("choices")
                image = gathered.finder.find(stated)
                if choices and image:
                    label_of[image] = str(choices[0])
            objects, size = _label_studio_objects(results, gathered.left_out, stated)
            gathered.add(stated, objects, size)
        if label_of and not any(objects for objects, _ in gathered.objects.values()):
            return catalog_of_labels(files.name, files.read, label_of, {}, [])
        return gathered.catalog()


def _label_studio_tasks(files: Files) -> list[dict[str, Any]]:
    for name in files.with_suffix(".json"):
        if b'"annotations"' not in files.read(name) and b'"completions"' not in files.read(name):
            continue
        try:
            document = _load_json(files, name)
        except DataError:
            continue
        if isinstance(document, list) and document and isinstance(document[0], dict):
            return [task for task in document if isinstance(task.get("data"), dict)]
    return []


def _label_studio_image(task: Mapping[str, Any], finder: ImageFinder) -> str:
    """The image's name; of an upload, ``1/ab12cd34-name.jpg``, also without what was put before."""
    texts = [v for v in task["data"].values() if isinstance(v, str) and "." in v]
    stated = unquote(texts[0]).split("?d=")[-1] if texts else ""
    if finder.find(stated) is None:
        shorter = stated.split("/")[-1].partition("-")[2]
        if shorter and finder.find(shorter):
            return shorter
    return stated


def _label_studio_results(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    answers = task.get("annotations") or task.get("completions") or []
    kept = [a for a in answers if isinstance(a, dict) and not a.get("was_cancelled")]
    return [r for r in (kept[-1].get("result") or [] if kept else []) if isinstance(r, dict)]


def _label_studio_objects(
    results: Iterable[Mapping[str, Any]], left_out: list[str], stated: str
) -> tuple[Objects, Stated]:
    found: Objects = []
    size: Stated = None
    for result in results:
        value = result.get("value") or {}
        kind = str(result.get("type"))
        if kind == "choices":
            continue
        try:
            size = int(result["original_height"]), int(result["original_width"])
            labels = value[kind] if kind in value else value["labels"]
            if "points" in value:
                corners = corners_of(value["points"])
            else:
                x, y, width, height = (float(value[k]) for k in ("x", "y", "width", "height"))
                corners = [x, y, x + width, y + height]
            scaled = [c * s / 100 for c, s in zip(corners, size[::-1] * 2, strict=True)]
            found.append((str(labels[0]), scaled))
        except (KeyError, TypeError, ValueError, IndexError, DataError):
            left_out.append(f"{stated} ({kind})")
    return found, size


def _load_json(files: Files, name: str) -> Any:
    try:
        return json.loads(files.text(name))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {name}: {error}") from None


def _size(fields: Mapping[str, Any], height: str, width: str) -> Stated:
    convert: Callable[[Any], int] = lambda value: int(float(value))  # noqa: E731
    try:
        return convert(fields[height]), convert(fields[width])
    except (KeyError, TypeError, ValueError):
        return None
