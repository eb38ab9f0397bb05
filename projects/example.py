"""Generated images in the layout of a data set: to try a project at once, and to see the layout.

On a grey ground with noise lies a disc, a square or, with masks, neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square")
_COUNT = 60
_SIDE = 96
_COLORS = ((200, 90, 60), (70, 110, 210))


@dataclass(frozen=True)
class _Shape:
    kind: int
    box: tuple[int, int, int, int]  # left, top, right, bottom; the last pixel is inside

    def draw(self, image: Image.Image, fill: int | tuple[int, int, int]) -> None:
        pen = ImageDraw.Draw(image)
        (pen.ellipse, pen.rectangle)[self.kind](self.box, fill=fill)


def write_example(folder: Path, dataset: str) -> int:
    """Write images and labels, the same ones every time; the answer is how many images.

    Args:
        folder: the data set's.
        dataset: ``image_folder``, ``mask_folder`` or ``yolo_txt``.
    """
    write = _WRITERS[dataset]
    rng = np.random.default_rng(0)
    for number in range(_COUNT):
        side = int(rng.integers(_SIDE // 4, _SIDE // 2))
        left, top = rng.integers(0, _SIDE - side, 2).tolist()
        shape = _Shape(number % 2, (left, top, left + side - 1, top + side - 1))
        ground = rng.normal(128, 12, (_SIDE, _SIDE, 1)).repeat(3, 2).clip(0, 255)
        write(folder, f"{number:02}", Image.fromarray(ground.astype(np.uint8)), shape)
    if dataset == "yolo_txt":
        (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return _COUNT


def _write_class(folder: Path, name: str, image: Image.Image, shape: _Shape) -> None:
    shape.draw(image, _COLORS[shape.kind])
    _save(image, folder / CLASSES[shape.kind] / f"{name}.png")


def _write_mask(folder: Path, name: str, image: Image.Image, shape: _Shape) -> None:
    """Every third image is clean; of the others the mask marks the disc or square."""
    mask = Image.new("L", image.size)
    if int(name) % 3:
        shape.draw(image, _COLORS[shape.kind])
        shape.draw(mask, 255)
    _save(image, folder / "images" / f"{name}.png")
    _save(mask, folder / "masks" / f"{name}.png")


def _write_boxes(folder: Path, name: str, image: Image.Image, shape: _Shape) -> None:
    shape.draw(image, _COLORS[shape.kind])
    _save(image, folder / "images" / f"{name}.png")
    left, top, right, bottom = shape.box
    values = ((left + right + 1) / 2, (top + bottom + 1) / 2, right + 1 - left, bottom + 1 - top)
    line = " ".join(f"{value / _SIDE:.6f}" for value in values)
    text = folder / "labels" / f"{name}.txt"
    text.parent.mkdir(exist_ok=True)
    text.write_text(f"{shape.kind} {line}\n", encoding="utf-8")


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


_WRITERS: dict[str, Callable[[Path, str, Image.Image, _Shape], None]] = {
    "image_folder": _write_class,
    "mask_folder": _write_mask,
    "yolo_txt": _write_boxes,
}
