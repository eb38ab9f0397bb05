"""One image into a network of any task, and its answer in the task's own words. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .classification import top_k
from .detection import detect
from .images import to_input
from .letterbox import Letterbox, letterbox
from .segmentation import resize_logits, to_mask

if TYPE_CHECKING:
    from ..spec import ModelSpec


@dataclass(frozen=True)
class ModelInput:
    """An image as a network takes it.

    ``x`` is raw: uint8 ``[1, C, height, width]`` in 0..255. ``size`` is the image's own, height
    and width; ``mapping`` says where it lies in a detector's input.
    """

    x: np.ndarray
    size: tuple[int, int]
    mapping: Letterbox | None = None


def preprocess(spec: ModelSpec, image: np.ndarray) -> ModelInput:
    """An image of any size, uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), as the network's input.

    A detector's keeps its proportions, others are stretched.

    Raises:
        ValueError: the array is not a uint8 image.
    """
    size = image.shape[:2]
    if spec.task == "detection":
        x, mapping = letterbox(image, spec.input_size, spec.color, centred=spec.is_centred)
        return ModelInput(x, size, mapping)
    x = to_input(image, spec.input_size, spec.in_channels)
    return ModelInput(x[:, ::-1] if spec.color == "bgr" else x, size)


def postprocess(
    spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
) -> dict[str, Any]:
    """What a network says of an image, by the name of what it is.

    ``classes``: the likeliest, best first; ``mask``: uint8 ``[h, w]`` of the image's size;
    ``detections``: boxes in the image's pixels, best first.

    Args:
        spec: the network's.
        outputs: its raw outputs, batch 1.
        model_input: what :func:`preprocess` made of the image.

    Raises:
        ValueError: the outputs do not fit the spec.
    """
    if spec.task == "detection":
        assert model_input.mapping is not None
        return {"detections": detect(spec, outputs, model_input.mapping)}
    (output,) = outputs
    if spec.task == "segmentation":
        return {"mask": to_mask(resize_logits(output, model_input.size))[0]}
    return {"classes": top_k(output, spec.classes)[0]}
