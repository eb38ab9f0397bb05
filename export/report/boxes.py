"""What a detector finds in some test images, drawn: the truth, then every place's boxes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...training.data import ImageSet
from ...training.metrics import find_boxes, true_boxes
from ...training.plots import draw_boxes
from ...zoo.spec import ModelSpec
from ...zoo.tasks.boxes import Boxes

_LONGEST = 416  # pixels of a drawn image: enough to see the boxes, little enough for one page
_QUALITY = 80


@dataclass(frozen=True)
class BoxAnswer:
    """An image with a place's boxes, and in words how many there are."""

    uri: str
    words: str


def true_answer(test: ImageSet, color: str, index: int) -> BoxAnswer:
    """An image with the boxes of its label."""
    return _answer(test, color, index, true_boxes(test.labels[index]))


def box_answers(
    spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet, indices: Sequence[int]
) -> list[BoxAnswer | None]:
    """A place's boxes, at the thresholds of an application, in the images ``indices``.

    Args:
        spec: the network's.
        outputs: raw maps of the first n images; None is the answer to a later one.
        test: the images.
        indices: in 0..N-1.
    """
    found: list[BoxAnswer | None] = []
    for index in indices:
        if index >= len(outputs[0]):
            found.append(None)
            continue
        (boxes,) = find_boxes(spec, [output[index][None] for output in outputs])
        found.append(_answer(test, spec.color, index, boxes))
    return found


def _answer(test: ImageSet, color: str, index: int, boxes: Boxes) -> BoxAnswer:
    counts = np.bincount(boxes.classes, minlength=len(test.classes))
    words = ", ".join(f"{n} {name}" for name, n in zip(test.classes, counts, strict=True) if n)
    return BoxAnswer(_drawn_uri(test.images[index], color, boxes), words or "nothing")


def _drawn_uri(pixels: np.ndarray, color: str, boxes: Boxes) -> str:
    """A raw image ``[C, H, W]`` with boxes, as a JPEG in a data URI."""
    image = draw_boxes(pixels, color, boxes)
    image.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
