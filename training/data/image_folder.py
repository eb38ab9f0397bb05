"""Images in one folder a class, or with a table of labels: a folder or a zip of one's own."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping

from ...errors import DataError
from .catalog import Catalog, Kind, catalog_of_labels, part_of, part_on_path
from .files import SPLIT_FILE, Files, parent_of, parse_split, stem_of
from .findings import Finding
from .formats import FolderFormat, Request, register_format
from .images import Split

_FILE_COLUMNS = ("file", "filename", "file_name", "image", "img", "path", "image_path", "name",
                 "image_name", "filepath", "id", "image_id")  # fmt: skip
_LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "class_name", "y")
_SPLIT_COLUMNS = ("split", "part", "subset", "set")


@register_format
class ImageTable(FolderFormat):
    """A CSV file of image and label, with or without a header, and the images anywhere below.

    A column ``split``, or folders ``train`` and ``test`` around the images, make the parts.
    """

    name = "image_csv"
    guess_rank = 3
    summary = "a CSV file of image and label beside the images"

    def fits(self, files: Files, task: Kind | None) -> bool:
        if task not in (None, "classification"):
            return False
        return _find_table(files) is not None

    def list(self, files: Files, request: Request) -> Catalog:
        found = _find_table(files)
        if found is None:
            raise DataError(f"{files.name} has no CSV file of image and label")
        table, label_of, split_of, missing = found
        findings = []
        if missing:
            what = f"rows of {table} name no image below {files.name}"
            findings.append(Finding.of("warning", "csv-missing", f"{len(missing)} {what}", missing))
        return catalog_of_labels(files.name, files.read, label_of, split_of, findings)


@register_format
class ImageFolder(FolderFormat):
    """``<class>/*``, at any depth, or ``train/<class>/*``, ``val/<class>/*``, ``test/<class>/*``.

    ``split.tsv`` may name the parts; without any every fifth image of a class, drawn once and for
    all, is a test image. Where the folders are no classes, and a CSV file of image and label is
    there, that one is read.
    """

    name = "image_folder"
    guess_rank = 4
    summary = "one folder a class inside"

    def fits(self, files: Files, task: Kind | None) -> bool:
        return task in (None, "classification") and bool(_label_by_folder(files)[0])

    def list(self, files: Files, request: Request) -> Catalog:
        label_of, split_of, findings = _label_by_folder(files)
        loose = [name for name in files.images if name not in label_of]
        if len(loose) > len(label_of) and _find_table(files) is not None:
            return ImageTable().list(files, request)
        if not label_of:
            raise DataError(
                f"{files.name}: the images lie in no class folders: {self.summary}, "
                "or a CSV file of image and label"
            )
        if loose:
            what = "images lie in no class folder and are left out"
            findings.append(Finding.of("warning", "loose-images", f"{len(loose)} {what}", loose))
        return catalog_of_labels(files.name, files.read, label_of, split_of, findings)


def _label_by_folder(files: Files) -> tuple[dict[str, str], dict[str, Split], list[Finding]]:
    """The class of each image, its part where there are parts, and what is odd."""
    images = files.images
    if SPLIT_FILE in files.present:
        table = parse_split(files.read(SPLIT_FILE), files.root / SPLIT_FILE)
        split_of: dict[str, Split] = {n: part for part, names in table.items() for n in names}
        return {name: parent_of(name).split("/")[-1] for name in split_of}, split_of, []
    tops = {name.split("/")[0] for name in images if "/" in name}
    findings: list[Finding] = []
    if tops and all(part_of(top) for top in tops):
        label_of = {name: name.split("/")[1] for name in images if name.count("/") > 1}
        split_of = {name: part for name in label_of if (part := part_on_path(name))}
        if set(split_of.values()) == {"train"}:
            split_of = {}
    else:
        label_of = {name: name.split("/")[0] for name in images if "/" in name}
        split_of = {}
        strange = [top for top in sorted(tops) if part_of(top)]
        if strange and label_of:
            what = "folders are taken for classes, as other folders are beside them"
            findings.append(Finding.of("warning", "part-as-class", f"part {what}", strange))
        findings += _ambiguous_levels(label_of)
    labels = set(label_of.values())
    depth = 1 if split_of or (tops and all(part_of(top) for top in tops)) else 0
    empty = [
        folder
        for folder in files.folders
        if folder.count("/") == depth and folder.split("/")[-1] not in labels
        and not (depth == 0 and part_of(folder))
    ]  # fmt: skip
    if label_of and empty:
        findings.append(Finding.of("warning", "empty-class", "class folders without images", empty))
    return label_of, split_of, findings


def _ambiguous_levels(label_of: Mapping[str, str]) -> list[Finding]:
    """A warning where the folders below the classes look like the classes: camera1/cat, ..."""
    below: dict[str, set[str]] = defaultdict(set)
    for name, label in label_of.items():
        if name.count("/") > 1:
            below[label].add(name.split("/")[1])
    counts = Counter(inner for folders in below.values() for inner in folders)
    repeated = sorted(inner for inner, count in counts.items() if count > 1)
    if len(below) < 2 or len(repeated) < 2:
        return []
    message = (
        f"the folders {', '.join(sorted(below)[:3])} are taken for classes, and each holds folders "
        f"{', '.join(repeated[:3])}: if those are the classes, move them to the top"
    )
    return [Finding("warning", "ambiguous-classes", message)]


def _find_table(
    files: Files,
) -> tuple[str, dict[str, str], dict[str, Split], list[str]] | None:
    """The CSV file that labels most images: its name, labels, parts, and rows without an image."""
    best = None
    for name in files.names:
        if not name.lower().endswith((".csv", ".tsv")) or name == SPLIT_FILE:
            continue
        found = _read_table(files, name)
        if found and (best is None or len(found[0]) > len(best[1])):
            best = (name, *found)
    return best


def _read_table(
    files: Files, name: str
) -> tuple[dict[str, str], dict[str, Split], list[str]] | None:
    text = files.text(name)
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if len(row) > 1]
    if not rows:
        return None
    lookup = _lookup(files)
    header = [cell.strip().lower() for cell in rows[0]]
    file_column = next((header.index(c) for c in _FILE_COLUMNS if c in header), None)
    label_column = next((header.index(c) for c in _LABEL_COLUMNS if c in header), None)
    split_column = next((header.index(c) for c in _SPLIT_COLUMNS if c in header), None)
    if file_column is None or label_column is None:
        if lookup.get(rows[0][0].strip()) is None:
            return None
        file_column, label_column, split_column = 0, 1, None
    elif len(rows) > 1:
        rows = rows[1:]
    label_of: dict[str, str] = {}
    split_of: dict[str, Split] = {}
    missing = []
    for row in rows:
        if len(row) <= max(file_column, label_column):
            continue
        cell = row[file_column].strip().replace("\\", "/")
        image = next((i for key in (cell, cell.split("/")[-1]) if (i := lookup.get(key))), None)
        if image is None:
            missing.append(cell)
            continue
        label_of[image] = row[label_column].strip()
        stated = row[split_column] if split_column is not None and len(row) > split_column else ""
        part = part_of(stated.strip()) or part_on_path(image)
        if part:
            split_of[image] = part
    if set(split_of.values()) <= {"train"}:
        split_of = {}
    return (label_of, split_of, missing) if len(label_of) > 1 else None


def _lookup(files: Files) -> dict[str, str]:
    """Images by path, by file name, and by stem, where those are of one image alone."""
    counts: Counter[str] = Counter()
    found: dict[str, str] = {}
    for name in files.images:
        for key in {name.split("/")[-1], stem_of(name)} - {name}:
            counts[key] += 1
            found[key] = name
    unique = {key: name for key, name in found.items() if counts[key] == 1}
    return unique | {name: name for name in files.images}
