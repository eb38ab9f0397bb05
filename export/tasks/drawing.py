"""Test images for a report, as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ...zoo.tasks.segmentation import class_colors, overlay


def image_uri(image: np.ndarray, color: str) -> str:
    """A raw image, uint8 ``[C, H, W]`` with 1 or 3 channels, as a PNG in a data URI."""
    return _png_uri(_pixels(image, color))


def mask_uri(image: np.ndarray, mask: np.ndarray, num_classes: int, color: str) -> str:
    """A raw image with a mask ``[H, W]`` painted over it, likewise."""
    colors = class_colors(num_classes)
    return _png_uri(overlay(_pixels(image, color), mask, colors))


def _pixels(image: np.ndarray, color: str) -> np.ndarray:
    """``[H, W]`` or rgb ``[H, W, 3]`` of a raw image ``[C, H, W]``."""
    planes = image[::-1] if color == "bgr" else image
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)


def _png_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
