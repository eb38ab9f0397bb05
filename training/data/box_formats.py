"""Where boxes are written: PASCAL VOC's xml, COCO's json, YOLO's txt.

Each format has a function that finds the images of a split and returns a listing; nothing but
names is read before :func:`~edgeark.training.data.boxes.read_boxes` asks. Where a folder has no
parts, every fifth image, drawn once and for all, is a test image.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ...errors import DataError, MissingPartError
from .boxes import BoxListing
from .folders import SUFFIXES, drawn_part, read_file, warn_left_out
from .images import Split

_MAX_XML_BYTES = 4_000_000  # ten thousand boxes; a larger annotation of one image is a mistake
_VOC_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ALIASES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid"),
    "test": ("test",),
}


def list_voc(name: str, folder: Path, split: Split, classes: Sequence[str] = ()) -> BoxListing:
    """``JPEGImages/*``, ``Annotations/*.xml`` and ``ImageSets/Main/<split>.txt`` (Everingham 2010).

    Corners are taken as the pixel edges that they are in most files (LabelImg writes them so); the
    original data set counts pixels from 1, which is at most a pixel's difference. Objects marked
    as difficult are objects like any other.

    Args:
        classes: the names in the order of the network's outputs; by default all names that the
            annotations have, sorted.

    Raises:
        DataError: the folder is laid out otherwise.
    """
    pictures = {p.stem: p.name for p in _pictures(folder / "JPEGImages")}
    lists = folder / "ImageSets" / "Main"
    if (lists / f"{split}.txt").is_file():
        lines = (lists / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        stems = [line.split()[0] for line in lines if line.strip()]
    elif any((lists / f"{part}.txt").is_file() for part in _ALIASES):
        _lacks(name, split)
    else:
        stems = _drawn(name, sorted(pictures), split)
    annotations = folder / "Annotations"
    known = tuple(classes) or _voc_classes(annotations)
    if not known:
        raise DataError(f"{annotations} holds no xml file with an object")

    def boxes(picture: str, size: tuple[int, int]) -> np.ndarray:
        root = parse_xml((annotations / f"{Path(picture).stem}.xml").read_bytes())
        return _voc_boxes(root, known, size)

    names = tuple(pictures.get(stem, f"{stem}.jpg") for stem in stems)
    return BoxListing(name, names, known, partial(read_file, folder / "JPEGImages"), boxes)


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, *_: object) -> NoReturn:
        raise DataError("has a document type, which annotations do not need")


def parse_xml(content: bytes) -> ET.Element:
    """The root of an annotation from anywhere.

    What makes XML of unknown origin dangerous are entities: nested ones grow without bound,
    external ones read files. They are defined in a document type, and the parser stops at the
    beginning of one; the standard parser fetches nothing by itself.

    Raises:
        DataError: no XML, too large, or with a document type.
    """
    if len(content) > _MAX_XML_BYTES:
        raise DataError(f"{len(content)} bytes of xml for one image")
    try:
        return ET.fromstring(content, parser=ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, LookupError, ValueError) as error:
        raise DataError(f"not readable as xml: {error}") from None


def _voc_classes(annotations: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for path in annotations.glob("*.xml"):
        try:
            names.update(
                _text(entry, "name") for entry in parse_xml(path.read_bytes()).iter("object")
            )
        except DataError:
            continue  # named when its image is read
    return tuple(sorted(names))


def _voc_boxes(root: ET.Element, classes: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    stated = (int(root.findtext("size/height") or 0), int(root.findtext("size/width") or 0))
    if all(stated) and stated != size:
        raise DataError(f"the annotation is of a {stated} image (height, width), it is {size}")
    rows = []
    for entry in root.iter("object"):
        label = _text(entry, "name")
        if label not in classes:
            raise DataError(f"unknown class {label!r}")
        corners = [float(_text(entry, f"bndbox/{corner}")) for corner in _VOC_CORNERS]
        rows.append([*corners, classes.index(label)])
    return _rows(rows)


def _text(entry: ET.Element, path: str) -> str:
    text = (entry.findtext(path) or "").strip()
    if not text:
        raise DataError(f"an object without {path}")
    return text


def list_coco(name: str, folder: Path, split: Split) -> BoxListing:
    """A json file a split, as COCO has it (Lin et al. 2014): ``images``, ``annotations`` ...

    The file is ``annotations/*<split>*.json``, ``<split>/*.json``, or else the only one in the
    folder. Images are looked for beside it, in ``images``, ``images/<split>``, ``<split>``,
    ``<split>2017`` and the folder itself. Boxes around a crowd are left out.

    Raises:
        DataError: no such file, or another content.
    """
    path, alone = _coco_file(name, folder, split)
    document = _read_coco(path)
    classes = _coco_classes(document)
    if split != "train" and not alone:
        wanted = _coco_classes(_read_coco(_coco_file(name, folder, "train")[0]))
        if classes != wanted:
            raise DataError(f"{path} has other categories than the training part")
    try:
        files = {int(entry["id"]): str(entry["file_name"]) for entry in document["images"]}
        rows: dict[str, list[list[float]]] = {file: [] for file in files.values()}
        number = {identity: index for index, (identity, _) in enumerate(classes)}
        crowds, strays = [], []
        for entry in document["annotations"]:
            file = files.get(entry["image_id"])
            if file is None:
                strays.append(f"annotation {entry.get('id')}")
            elif entry.get("iscrowd"):
                crowds.append(file)
            else:
                x, y, width, height = map(float, entry["bbox"])
                rows[file].append([x, y, x + width, y + height, number[entry["category_id"]]])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not as COCO's: {type(error).__name__} {error}") from None
    total = len(document["annotations"])
    warn_left_out(name, crowds, f"of {total} {split} boxes are around a crowd")
    warn_left_out(name, strays, f"of {total} {split} boxes are of no image in the list")
    places = [path.parent, folder / "images", folder]
    for part in _ALIASES[split]:
        places += [folder / "images" / part, folder / part, folder / f"{part}2017"]

    def read(file: str) -> bytes:
        found = next((p / file for p in places if (p / file).is_file()), folder / file)
        return found.read_bytes()

    names = _drawn(name, sorted(rows), split) if alone else list(rows)
    labels = tuple(label for _, label in classes)
    return BoxListing(name, tuple(names), labels, read, lambda file, _: _rows(rows[file]))


def _coco_file(name: str, folder: Path, split: Split) -> tuple[Path, bool]:
    """The json file of a split, and whether it is the one file of all images."""
    for part in _ALIASES[split]:
        for pattern in (f"annotations/*{part}*.json", f"{part}/*.json"):
            found = sorted(folder.glob(pattern))
            if len(found) > 1:
                listed = ", ".join(path.name for path in found)
                raise DataError(f"which is the {split} part of {name}: {listed}? Leave one there")
            if found:
                return found[0], False
    single = [*folder.glob("*.json"), *folder.glob("annotations/*.json")]
    if len(single) == 1:
        return single[0], True
    _lacks(name, split)


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    parts = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(k), list) for k in parts):
        raise DataError(f"{path} is not as COCO's: an object with the lists {', '.join(parts)}")
    return document


def _coco_classes(document: dict[str, Any]) -> list[tuple[int, str]]:
    try:
        return sorted((int(entry["id"]), str(entry["name"])) for entry in document["categories"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"categories are not as COCO's: {error}") from None


def list_yolo(name: str, folder: Path, split: Split) -> BoxListing:
    """A txt file an image: lines of class, centre x and y, width, height, as shares of the sides.

    Images are in ``images/<split>`` with ``labels/<split>`` beside it, or in ``<split>/images``
    with ``<split>/labels``, or all in ``images`` with ``labels``. An image without a txt file is
    one without objects. ``classes.txt`` has a class name a line.

    Raises:
        DataError: the folder is laid out otherwise, or has no ``classes.txt``.
    """
    try:
        lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(f"write the class names, one a line, to {folder / 'classes.txt'}") from None
    classes = tuple(line.strip() for line in lines if line.strip())
    pairs = [
        (folder / first, folder / second)
        for part in _ALIASES[split]
        for first, second in (
            (f"images/{part}", f"labels/{part}"),
            (f"{part}/images", f"{part}/labels"),
        )
    ]
    found = next(((i, t) for i, t in pairs if i.is_dir()), None)
    images, texts = found or (folder / "images", folder / "labels")
    names = [picture.name for picture in _pictures(images)]
    if found is None:
        names = _drawn(name, names, split)

    def boxes(picture: str, size: tuple[int, int]) -> np.ndarray:
        path = texts / f"{Path(picture).stem}.txt"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return _yolo_boxes(text, len(classes), size)

    return BoxListing(name, tuple(names), classes, partial(read_file, images), boxes)


def _yolo_boxes(text: str, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        values = [float(value) for value in line.split()]
        if not values:
            continue
        if len(values) != 5:
            raise DataError(f"line {number} has {len(values)} values instead of 5")
        index, x, y, width, height = values
        if index not in range(num_classes):
            raise DataError(f"line {number}: class {index:g}, but there are {num_classes}")
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        rows.append([*(c * s for c, s in zip(corners, (size[1], size[0]) * 2, strict=True)), index])
    return _rows(rows)


def _rows(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 5)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"no images in {folder}")
    return found


def _drawn(name: str, names: list[str], split: Split) -> list[str]:
    if split == "val":
        _lacks(name, split)
    return [names[i] for i in drawn_part(len(names), split)]


def _lacks(name: str, split: Split) -> NoReturn:
    hint = "; set val_size in the recipe" if split == "val" else ""
    raise MissingPartError(f"{name} has no {split} part{hint}")
