"""PASCAL VOC's xml (Everingham 2010), as LabelImg and others write it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from ...errors import DataError
from .boxes import class_index, parts_by_folder, place_boxes, rows_of
from .catalog import PART_NAMES, Catalog, Kind
from .files import Files, parent_of, stem_of
from .findings import Finding, name_some
from .formats import FolderFormat, Request, register_format
from .images import Split
from .pixels import ImageHeader
from .xml import parse_xml, text_of

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@register_format
class VocFolder(FolderFormat):
    """``JPEGImages/*``, ``Annotations/*.xml`` and ``ImageSets/Main/<split>.txt``.

    Or xml files anywhere, each with the name of its image. Corners are taken as the pixel edges
    that they are in most files; the original data set counts pixels from 1, which is at most a
    pixel's difference. Objects marked as difficult are objects like any other. Classes are all
    names that the annotations have, sorted.
    """

    name = "voc_folder"
    summary = "JPEGImages/* and Annotations/*.xml"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "detection"):
            return False
        candidates = files.with_suffix(".xml")[:3]
        return any(b"<object" in files.read(n) or b"<bndbox" in files.read(n) for n in candidates)

    def list(self, files: Files, request: Request) -> Catalog:
        return list_voc(files)


def list_voc(files: Files, classes: Sequence[str] = (), name: str | None = None) -> Catalog:
    """A catalog of VOC's files.

    Args:
        files: the folder's.
        classes: names in the order of the network's outputs; by default all that are found.
        name: the data set's; by default the folder's.

    Raises:
        DataError: the folder is laid out otherwise.
    """
    xml_of = {stem_of(xml): xml for xml in files.with_suffix(".xml")}
    if not xml_of:
        raise DataError(f"{files.name} has no xml files: {VocFolder.summary}")
    masks = ("segmentationclass", "segmentationobject")
    images = [n for n in files.images if parent_of(n).split("/")[-1].lower() not in masks]
    fitting = [image for image in images if stem_of(image) in xml_of]
    if not fitting:
        raise DataError(
            f"no xml file fits an image: {images[0]} needs {stem_of(images[0])}.xml, and there is "
            f"{name_some(sorted(xml_of))}.xml"
        )
    known = tuple(classes) or _classes(files, list(xml_of.values()))
    if not known:
        raise DataError(f"{files.name} holds no xml file with an object")
    index = {label: number for number, label in enumerate(known)}
    lists = _lists(files)
    is_drawn = False
    if lists:
        by_stem = {stem_of(image): image for image in images}
        folder = parent_of(images[0])
        parts: dict[Split, tuple[str, ...]] = {
            part: tuple(by_stem.get(s, f"{folder}/{s}.jpg".lstrip("/")) for s in stems)
            for part, stems in lists.items()
        }
        findings: tuple[Finding, ...] = ()
    else:
        parts, is_drawn = parts_by_folder(images)
        findings = ()

    def annotate(image: str, header: ImageHeader) -> np.ndarray:
        if (xml := xml_of.get(stem_of(image))) is None:
            raise DataError(f"no xml file for {image}")
        root = parse_xml(files.read(xml))
        return place_boxes(_boxes(root, index), header, _stated_size(root))

    return Catalog(
        name or files.name, "detection", known, parts, files.read, annotate, findings, is_drawn
    )


def _lists(files: Files) -> dict[Split, list[str]]:
    """The stems in ``ImageSets/Main/<split>.txt``, for the parts that have such a file."""
    found: dict[Split, list[str]] = {}
    for split, aliases in PART_NAMES.items():
        for alias in aliases:
            name = next((n for n in files.names if n.endswith(f"ImageSets/Main/{alias}.txt")), None)
            if name is not None:
                found[split] = [line.split()[0] for line in files.lines(name)]
                break
    return found


def _classes(files: Files, names: Sequence[str]) -> tuple[str, ...]:
    labels: set[str] = set()
    for name in names:
        try:
            labels.update(text_of(e, "name") for e in parse_xml(files.read(name)).iter("object"))
        except DataError:
            continue  # named when its image is read
    return tuple(sorted(labels))


def _stated_size(root: Element) -> tuple[int, int] | None:
    height, width = (root.findtext(f"size/{side}") or "0" for side in ("height", "width"))
    stated = int(float(height)), int(float(width))
    return stated if all(stated) else None


def _boxes(root: Element, index: dict[str, int]) -> np.ndarray:
    rows = []
    for entry in root.iter("object"):
        number = class_index(index, text_of(entry, "name"))
        rows.append([*(float(text_of(entry, f"bndbox/{c}")) for c in _CORNERS), number])
    return rows_of(rows)
