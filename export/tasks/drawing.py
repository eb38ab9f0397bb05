"""Answers drawn into images; and test images for a report, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...zoo.tasks.segmentation import Rgb, class_colors, overlay

if TYPE_CHECKING:
    from ...zoo.tasks.detection import Detection

_LONGEST, _QUALITY = 416, 80  # pixels of a drawn image in a report, and the JPEG's quality
_SMALLEST_TEXT = 11  # pixels
_MISSING = "\uffff"  # no font has it


def image_uri(image: np.ndarray, color: str) -> str:
    """A raw image, uint8 ``[C, H, W]`` with 1 or 3 channels, as a PNG in a data URI."""
    return _png_uri(to_rgb(image, color))


def mask_uri(image: np.ndarray, mask: np.ndarray, num_classes: int, color: str) -> str:
    """A raw image with a mask ``[H, W]`` painted over it, likewise."""
    colors = class_colors(num_classes)
    return _png_uri(overlay(to_rgb(image, color), mask, colors))


def draw_lines(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Lines of text in the upper left corner of a copy of an image: uint8 ``[h, w, 3]`` (rgb)."""
    canvas = _rgb(image)
    font, y = _font(canvas.size), 0
    for line in lines:
        y = _write(canvas, (0, y), line, (0, 0, 0), font)
    return np.asarray(canvas)


def draw_named_boxes(image: np.ndarray, found: Sequence[Detection]) -> np.ndarray:
    """Boxes with names and scores in a copy of an image, the best on top; one colour a class."""
    canvas = _rgb(image)
    pen, font = ImageDraw.Draw(canvas), _font(canvas.size)
    line = max(1, min(canvas.size) // 200)
    for each in reversed(found):
        color = class_colors(each["class"] + 2)[each["class"] + 1]
        x1, y1, x2, y2 = (round(side) for side in each["box"])
        corners = (x1, y1, max(x1, min(x2, canvas.width) - 1), max(y1, min(y2, canvas.height) - 1))
        pen.rectangle(corners, outline=color, width=line)
        name = each["name"] if _is_in(each["name"], font) else f"class {each['class']}"
        _write(canvas, (x1, y1), f"{name} {100 * each['score']:.0f} %", color, font)
    return np.asarray(canvas)


def _rgb(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image)).convert("RGB")


def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which has more scripts than Pillow's."""
    import matplotlib as mpl

    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, max(_SMALLEST_TEXT, min(size) // 30))


def _is_in(text: str, font: ImageFont.FreeTypeFont) -> bool:
    def shape(letter: str) -> bytes:
        return bytes(font.getmask(letter))  # pyright: ignore[reportArgumentType]

    missing = shape(_MISSING)
    return all(shape(letter) != missing for letter in text)


def _write(
    canvas: Image.Image, at: tuple[int, int], text: str, ground: Rgb, font: ImageFont.FreeTypeFont
) -> int:
    """Text on a ground of its own, inside the image where it fits; returns where it ends below."""
    pen = ImageDraw.Draw(canvas)
    _, _, width, height = (round(side) for side in pen.textbbox((0, 0), text, font=font))
    x = max(0, min(at[0], canvas.width - width - 3))
    y = max(0, min(at[1], canvas.height - height - 2))
    pen.rectangle((x, y, x + width + 3, y + height + 1), fill=ground)
    pen.text((x + 2, y), text, fill=(255, 255, 255), font=font)
    return y + height + 2


def photo_uri(pixels: np.ndarray) -> str:
    """A drawn image ``[h, w, 3]`` as a JPEG in a data URI, small enough for a page of many."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def to_rgb(image: np.ndarray, color: str) -> np.ndarray:
    """``[H, W]`` or rgb ``[H, W, 3]`` of a raw image ``[C, H, W]``."""
    planes = image[::-1] if color == "bgr" else image
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)


def _png_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
