"""From the bytes of an image file to pixels: upright, 8 bits, gray or RGB.

The same function serves training, calibration and ``edgeark run``, so a file means the same pixels
everywhere. Gray files of more than 8 bits are scaled by the smallest of 8, 12 and 16 bits that
holds the image's largest value: sensors of 12 bits are stored in files of 16.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import DataError

MAX_PIXELS = 100_000_000  # width times height; a larger image is refused before it is decoded
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".gif"),
)
_DEPTHS = ((8, 1), (12, 16), (16, 257))  # bits, and what 8-bit values are multiplied by
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself before its pixels are decoded.

    ``stored`` is the ``(height, width)`` in the file; ``orientation`` is EXIF's, 1 for upright.
    """

    stored: tuple[int, int]
    mode: str
    orientation: int = 1
    frames: int = 1
    format: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        height, width = self.stored
        return (width, height) if self.orientation in _SIDEWAYS else (height, width)

    def turn(self, image: Image.Image) -> Image.Image:
        """An image of the stored layout, upright."""
        operation = _TRANSPOSE.get(self.orientation)
        return image if operation is None else image.transpose(operation)

    def turn_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes ``[k, 4+]`` (x1, y1, x2, y2 in the stored layout) in the upright image."""
        height, width = self.stored
        x1, y1, x2, y2 = boxes[:, :4].T
        turned = {
            2: (width - x2, y1, width - x1, y2),
            3: (width - x2, height - y2, width - x1, height - y1),
            4: (x1, height - y2, x2, height - y1),
            5: (y1, x1, y2, x2),
            6: (height - y2, x1, height - y1, x2),
            7: (height - y2, width - x2, height - y1, width - x1),
            8: (y1, width - x2, y2, width - x1),
        }.get(self.orientation, (x1, y1, x2, y2))
        return np.concatenate([np.stack(turned, axis=1), boxes[:, 4:]], axis=1)


@contextmanager
def open_image(content: bytes) -> Iterator[tuple[Image.Image, ImageHeader]]:
    """An image file and its header; pixels are decoded when they are asked for.

    Raises:
        DataError: it is no image, a broken one, or has more than ``MAX_PIXELS``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own, lower limit, and of odd EXIF
            with Image.open(BytesIO(content)) as file:
                width, height = file.size
                if width * height > MAX_PIXELS:
                    raise DataError(
                        f"an image of {width}x{height}: more than {MAX_PIXELS // 10**6} million "
                        "pixels are refused; cut it into tiles"
                    )
                orientation = file.getexif().get(_ORIENTATION, 1)
                orientation = orientation if orientation in _TRANSPOSE else 1
                frames = getattr(file, "n_frames", 1)
                kind = file.format or ""
                yield file, ImageHeader((height, width), file.mode, orientation, frames, kind)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        reason = (
            "no image format is known that looks so"
            if isinstance(error, UnidentifiedImageError)
            else str(error)
        )
        raise DataError(f"not a readable image: {reason}") from None
    except Image.DecompressionBombError:
        raise DataError(f"more than {MAX_PIXELS // 10**6} million pixels are refused") from None


def decode(content: bytes) -> np.ndarray:
    """The pixels of an encoded image, upright: uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (RGB).

    Transparency is ignored: what lies under it is used.

    Raises:
        DataError: it is no image, a truncated one, or has more than ``MAX_PIXELS``.
    """
    return decode_with_header(content)[0]


def decode_with_header(content: bytes) -> tuple[np.ndarray, ImageHeader]:
    """:func:`decode`, and the file's header."""
    with open_image(content) as (file, header):
        return to_pixels(file, header), header


def to_pixels(file: Image.Image, header: ImageHeader) -> np.ndarray:
    """The pixels of an opened image, upright, in 8 bits.

    Raises:
        DataError: values that are no 8, 12 or 16 bits.
    """
    upright = header.turn(file)
    if file.mode == "F":
        raise DataError("pixels are floating-point numbers: save them as 8 or 16 bits")
    if file.mode.startswith("I"):
        return scale_depth(np.asarray(upright).astype(np.int64))
    if file.mode in ("1", "L", "LA", "La"):
        return np.asarray(upright.convert("L"))
    return np.asarray(upright.convert("RGB"))


def depth_of(values: np.ndarray) -> int:
    """8, 12 or 16: the smallest depth in bits that holds the largest of ``values``.

    Raises:
        DataError: a value is negative, or over 65,535.
    """
    if values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
        raise DataError("pixel values are not within 16 bits: save them as 8 or 16 bits")
    return next(bits for bits, _ in _DEPTHS if values.max(initial=0) < 2**bits)


def scale_depth(values: np.ndarray) -> np.ndarray:
    """Gray values of up to 16 bits as 8 bits; see the module's rule."""
    divisor = dict(_DEPTHS)[depth_of(values)]
    return np.minimum(np.rint(values / divisor), 255).astype(np.uint8)
