"""What every format of boxes shares: classes, matching annotations to images, plain mistakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from ...errors import DataError
from .catalog import draw_parts, part_on_path
from .files import Files, stem_of
from .images import Split
from .pixels import ImageHeader

_SHARE_LIMIT = 1.001  # boxes of whole pixels whose every corner is below are shares of the sides


def rows_of(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Boxes as float64 ``[k, 5]``."""
    return np.array(rows, np.float64).reshape(-1, 5)


def place_boxes(
    rows: np.ndarray, header: ImageHeader, stated: tuple[int, int] | None
) -> np.ndarray:
    """Boxes of an annotation in the upright image.

    Args:
        rows: float64 ``[k, 5]``, in pixels of the image as the annotation saw it.
        header: the image's.
        stated: the ``(height, width)`` that the annotation states; None where it does not.

    Raises:
        DataError: it is of an image of another size, or the boxes are no pixels.
    """
    if len(rows) and np.abs(rows[:, :4]).max() <= _SHARE_LIMIT and min(header.size) > 4:
        raise DataError("the boxes are shares of the sides, where this format has pixels")
    if stated in (None, header.size):
        return rows
    if stated == header.stored:  # the tool ignored EXIF
        return header.turn_boxes(rows)
    raise DataError(
        f"the annotation is of an image of {stated} (height, width), the file is {header.size}"
    )


def parts_by_folder(
    names: Sequence[str],
) -> tuple[dict[Split, tuple[str, ...]], bool]:
    """The parts that folders on the way to each image state; drawn where there are none."""
    parts: dict[Split, list[str]] = defaultdict(list)
    for name in names:
        parts[part_on_path(name) or "train"].append(name)
    if set(parts) == {"train"} and not all(map(part_on_path, names)):
        return draw_parts(names), True
    return {part: tuple(found) for part, found in parts.items()}, False


class ImageFinder:
    """Finds the image that an annotation names: by path, else by file name, else by stem."""

    def __init__(self, files: Files) -> None:
        self._paths = set(files.images)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in files.images:
            self._by_name[PurePosixPath(name).name].append(name)
            self._by_stem[stem_of(name)].append(name)

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def find(self, stated: str, near: str = "") -> str | None:
        """The image for ``stated``, preferably below or beside folder ``near``; None for none."""
        path = stated.replace("\\", "/").lstrip("./")
        for candidate in (path, f"{near}/{path}", f"images/{path}", f"{near}/images/{path}"):
            if candidate in self._paths:
                return candidate
        name = PurePosixPath(path).name
        found = self._by_name.get(name) or self._by_stem.get(stem_of(name)) or []
        close = [candidate for candidate in found if near and candidate.startswith(f"{near}/")]
        return (close or found)[0] if len(close or found) == 1 else None


def class_index(classes: Mapping[str, int], label: str) -> int:
    """The number of a class.

    Raises:
        DataError: there is no such class.
    """
    if label not in classes:
        raise DataError(f"unknown class {label!r}")
    return classes[label]


def corners_of(points: Sequence[Sequence[float]]) -> list[float]:
    """The upright box x1, y1, x2, y2 around points.

    Raises:
        DataError: fewer than two points.
    """
    if len(points) < 2:
        raise DataError(f"a shape of {len(points)} points")
    xs, ys = [float(p[0]) for p in points], [float(p[1]) for p in points]
    return [min(xs), min(ys), max(xs), max(ys)]
