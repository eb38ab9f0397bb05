"""An image of any shape in a network's input: its aspect is kept, and grey fills what is left.

NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .images import resize, shrink_large, to_planes

GREY = 114  # what YOLOv5 and YOLOX were trained with


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in a network's input, and the way back.

    Boxes are ``[..., 4]``: x1, y1, x2, y2 in pixels, from the outer edge of the first pixel.
    ``scale`` has one factor an axis: an image is resized to whole pixels, so the two differ a
    little, and much for an image that is shrunk to a single row.
    """

    scale: tuple[float, float]  # along x and y: input pixels per image pixel
    pad: tuple[int, int]  # input pixels to the left of the image, and above it
    image_size: tuple[int, int]  # height, width

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes in the image as boxes in the network's input."""
        return boxes * (self.scale * 2) + np.tile(self.pad, 2)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes in the network's input as boxes in the image, cut off at its edges."""
        height, width = self.image_size
        mapped = (boxes - np.tile(self.pad, 2)) / (self.scale * 2)
        return np.clip(mapped, 0, np.array([width, height, width, height]))


def letterbox(
    image: np.ndarray,
    input_size: tuple[int, int],
    color: Literal["gray", "rgb", "bgr"] = "rgb",
    *,
    centred: bool = True,
) -> tuple[np.ndarray, Letterbox]:
    """An image as a raw input, uint8 ``[1, C, height, width]`` in 0..255, and where it lies there.

    It is enlarged too where it is small. Shrinking averages (see
    :func:`~edgeark.zoo.tasks.images.resize_matrix`).

    Args:
        image: uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), of any size.
        input_size: the network's ``(height, width)``.
        color: the network's, as its spec has it.
        centred: grey on both sides alike, as YOLOv5 does it; or to the right and below alone, as
            YOLOX does.

    Raises:
        ValueError: the array is not a uint8 image.
    """
    if image.ndim < 2 or not image.size:
        raise ValueError(f"an image is uint8 [h, w] or [h, w, 3], got {image.shape}")
    image_size = (image.shape[0], image.shape[1])
    ratio = min(new / old for new, old in zip(input_size, image_size, strict=True))
    height, width = (max(1, round(side * ratio)) for side in image_size)
    planes = to_planes(shrink_large(image, (height, width)), 1 if color == "gray" else 3)
    if color == "bgr":
        planes = planes[..., ::-1]
    top = (input_size[0] - height) // 2 if centred else 0
    left = (input_size[1] - width) // 2 if centred else 0
    canvas = np.full((1, planes.shape[2], *input_size), GREY, np.uint8)
    canvas[0, :, top : top + height, left : left + width] = resize(planes, (height, width))
    scale = (width / image_size[1], height / image_size[0])
    return canvas, Letterbox(scale, (left, top), image_size)
