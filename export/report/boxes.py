"""What a detector finds in some test pictures, drawn: the truth, then every place's boxes."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ...training.data import ImageSet
from ...zoo.registry import ModelSpec
from ...zoo.tasks.boxes import Boxes
from ...zoo.tasks.detection import detect_arrays
from ...zoo.tasks.letterbox import Letterbox

_LONGEST = 320  # pixels of a drawn picture: enough to see the boxes, little enough for one page
_QUALITY = 80


@dataclass(frozen=True)
class BoxAnswer:
    """A picture with a place's boxes, and in words how many there are."""

    uri: str
    words: str


def choose_pictures(total: int, count: int = 5) -> list[int]:
    """Indices evenly through the test pictures, so that nobody chose the good ones."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))


def true_boxes(test: ImageSet, color: str, index: int) -> BoxAnswer:
    """A picture with the boxes of its label."""
    rows = test.labels[index]
    boxes = Boxes(rows[:, :4], np.ones(len(rows)), rows[:, 4].astype(int))
    return _answer(test, color, index, boxes)


def box_answers(
    spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet, indices: Sequence[int]
) -> list[BoxAnswer | None]:
    """A place's boxes, at the thresholds of an application, in the pictures ``indices``.

    Args:
        spec: the network's.
        outputs: raw maps of the first n pictures; None is the answer to a later one.
        test: the pictures.
        indices: in 0..N-1.
    """
    frame = Letterbox((1.0, 1.0), (0, 0), spec.input_size)
    found: list[BoxAnswer | None] = []
    for index in indices:
        if index >= len(outputs[0]):
            found.append(None)
            continue
        (boxes,) = detect_arrays(spec, [output[index][None] for output in outputs], [frame])
        found.append(_answer(test, spec.color, index, boxes))
    return found


def _answer(test: ImageSet, color: str, index: int, boxes: Boxes) -> BoxAnswer:
    counts = np.bincount(boxes.classes, minlength=len(test.classes))
    words = ", ".join(f"{n} {name}" for name, n in zip(test.classes, counts, strict=True) if n)
    return BoxAnswer(_drawn_uri(test.images[index], color, boxes), words or "nothing")


def _drawn_uri(picture: np.ndarray, color: str, boxes: Boxes) -> str:
    """A raw picture ``[C, H, W]`` with boxes, as a JPEG in a data URI."""
    planes = picture[::-1] if color == "bgr" else picture
    image = Image.fromarray(
        np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0))
    )
    ratio = min(1.0, _LONGEST / max(image.size))
    image = image.resize((round(image.width * ratio), round(image.height * ratio)))
    pen = ImageDraw.Draw(image)
    for corners, index in zip(boxes.xyxy.tolist(), boxes.classes.tolist(), strict=True):
        pen.rectangle([side * ratio for side in corners], outline=_class_color(index), width=2)
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _class_color(index: int) -> tuple[int, int, int]:
    """Hues a golden section apart: neighbours in the list are far from each other."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 1.0, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
