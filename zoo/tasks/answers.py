"""One picture into a network of any task, and its answer in the task's own words. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .classification import top_k
from .detection import detect
from .letterbox import Letterbox, letterbox
from .pictures import to_input
from .segmentation import resize_logits, to_mask

if TYPE_CHECKING:
    from ..spec import ModelSpec


@dataclass(frozen=True)
class Fed:
    """A picture as a network takes it.

    ``x`` is raw: uint8 ``[1, C, height, width]`` in 0..255. ``size`` is the picture's own, height
    and width; ``mapping`` says where it lies in a detector's input.
    """

    x: np.ndarray
    size: tuple[int, int]
    mapping: Letterbox | None = None


def feed(spec: ModelSpec, picture: np.ndarray) -> Fed:
    """A picture of any size, uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), as the network's input.

    A detector's keeps its proportions, others are stretched.

    Raises:
        ValueError: the array is not a uint8 picture.
    """
    size = picture.shape[:2]
    if spec.task == "detection":
        x, mapping = letterbox(picture, spec.input_size, spec.color, centred=spec.is_centred)
        return Fed(x, size, mapping)
    x = to_input(picture, spec.input_size, spec.in_channels)
    return Fed(x[:, ::-1] if spec.color == "bgr" else x, size)


def read_answer(spec: ModelSpec, outputs: Sequence[np.ndarray], fed: Fed) -> dict[str, Any]:
    """What a network says of a picture, by the name of what it is.

    ``classes``: the likeliest, best first; ``mask``: uint8 ``[h, w]`` of the picture's size;
    ``detections``: boxes in the picture's pixels, best first.

    Args:
        spec: the network's.
        outputs: its raw outputs, batch 1.
        fed: what :func:`feed` made of the picture.

    Raises:
        ValueError: the outputs do not fit the spec.
    """
    if spec.task == "detection":
        assert fed.mapping is not None
        return {"detections": detect(spec, outputs, fed.mapping)}
    (output,) = outputs
    if spec.task == "segmentation":
        return {"mask": to_mask(resize_logits(output, fed.size))[0]}
    return {"classes": top_k(output, spec.classes)[0]}
