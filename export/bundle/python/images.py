"""Images: reading, resizing, drawing, writing. Pillow or OpenCV where there is one, else NumPy.

SPDX-License-Identifier: Apache-2.0
"""

import os
from collections import namedtuple

import numpy as np
from png import SIGNATURE, read_png, write_png

try:
    import cv2
except ImportError:
    cv2 = None
try:
    from PIL import Image, ImageDraw, ImageFont, ImageOps
except ImportError:
    Image = None

# Where an image lies in the input: pixel * scale + offset, both as (x, y, x, y); size is (h, w).
Place = namedtuple("Place", "scale offset size")

IMAGE_SUFFIXES = (".png", ".ppm", ".pgm", ".npy", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
COLORS = ((230, 60, 50), (60, 130, 240), (70, 190, 90), (240, 190, 40), (170, 80, 200))
# Digits of 3x5 pixels, a row three bits: what is drawn where there is neither Pillow nor OpenCV.
_DIGITS = (
    *((7, 5, 5, 5, 7), (2, 6, 2, 2, 7), (7, 1, 7, 4, 7), (7, 1, 7, 1, 7), (5, 5, 7, 1, 1)),
    *((7, 4, 7, 1, 7), (7, 4, 7, 5, 7), (7, 1, 2, 2, 2), (7, 5, 7, 5, 7), (7, 5, 7, 1, 7)),
)


def read_image(path):
    """An image file as uint8 ``[h, w]`` (gray) or ``[h, w, 3]`` (rgb), upright.

    PNG, PPM and PGM files, and uint8 arrays of ``.npy``, need NumPy alone.

    Raises:
        ValueError: it cannot be read.
        OSError: there is none.
    """
    with open(path, "rb") as file:
        data = file.read()
    if path.lower().endswith(".npy"):
        pixels = np.load(path, allow_pickle=False)
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in (2, 3)
            or pixels.shape[2:] not in (*((), (3,)),)
        ):
            raise ValueError("an .npy image is uint8 [h, w] or [h, w, 3]")
        return pixels
    if Image is not None:
        return _read_with_pillow(path)
    if cv2 is not None:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
        if pixels is None:
            raise ValueError("OpenCV cannot read it")
        return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    if data.startswith(SIGNATURE):
        return read_png(data)
    if data[:2] in (b"P5", b"P6"):
        return _read_netpbm(data)
    raise ValueError("without Pillow and OpenCV, only .png, .ppm, .pgm and .npy can be read")


def write_image(path, pixels):
    """Write uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb): ``.png``, or what Pillow or OpenCV write.

    Raises:
        ValueError: the suffix is not known.
    """
    if path.lower().endswith(".png"):
        write_png(path, pixels)
    elif Image is not None:
        Image.fromarray(pixels).save(path)
    elif cv2 is not None and cv2.haveImageWriter(path):
        cv2.imwrite(path, pixels if pixels.ndim == 2 else pixels[..., ::-1])
    else:
        raise ValueError("cannot write %s: name a .png" % os.path.basename(path))


def prepare(image, facts):
    """The image in the network's input, by the rule of ``facts["resize"]``.

    Returns:
        uint8 ``[C, h, w]``, and a :class:`Place`.
    """
    wanted, rule = facts["input"], facts["resize"]
    planes = to_planes(image, wanted["color"])
    old, new = planes.shape[:2], (wanted["height"], wanted["width"])
    height, width, top, left = new[0], new[1], 0, 0
    if rule["rule"] == "letterbox":
        ratio = min(new[0] / float(old[0]), new[1] / float(old[1]))
        height, width = (max(1, round(side * ratio)) for side in old)  # half to even
        if rule["centred"]:
            top, left = (new[0] - height) // 2, (new[1] - width) // 2
    small = to_bytes(resize(planes, height, width, antialias=rule["antialias"]))
    canvas = np.full((planes.shape[2], new[0], new[1]), rule["pad_value"], np.uint8)
    canvas[:, top : top + height, left : left + width] = small.transpose(2, 0, 1)
    scale = (width / float(old[1]), height / float(old[0]))
    return canvas, Place(np.array(scale * 2), np.array((left, top) * 2), old)


def to_planes(image, color):
    """An image as float32 ``[h, w, C]`` in the network's colours: ``gray``, ``rgb`` or ``bgr``."""
    planes = image[..., None] if image.ndim == 2 else image
    if planes.shape[2] == 3 and color == "gray":  # luminance, ITU-R BT.601
        return planes.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if planes.shape[2] == 1 and color != "gray":
        planes = np.repeat(planes, 3, axis=2)
    return (planes[..., ::-1] if color == "bgr" else planes).astype(np.float32)


def resize(planes, height, width, antialias):
    """Float32 ``[h, w, C]`` bilinearly at another size, pixel centres at half-integers.

    ``antialias``: where it shrinks, the triangle is widened by the factor, so that every pixel
    counts; without it this is cv2.INTER_LINEAR.
    """
    for axis, new in ((0, height), (1, width)):
        old = planes.shape[axis]
        if old == new:
            continue
        total = 0.0
        for index, weight in _taps(old, new, antialias):
            shape = [1, 1, 1]
            shape[axis] = new
            total = total + np.take(planes, index, axis=axis) * weight.reshape(shape)
        planes = total
    return planes


def _taps(old, new, antialias):
    """Pairs of arrays ``[new]``: a source pixel of each new one, and its weight."""
    ratio = old / float(new)
    reach = max(ratio, 1.0) if antialias else 1.0
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    first = np.floor(centres - reach).astype(int)
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weight = np.maximum(0.0, 1.0 - np.abs(index - centres[:, None]) / reach)
    weight[(index < 0) | (index >= old)] = 0
    weight = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    index = np.clip(index, 0, old - 1)
    return [pair for pair in zip(index.T, weight.T) if pair[1].any()]


def to_bytes(planes):
    """Float32 in 0..255 to uint8, rounded half to even."""
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)


def as_rgb(image):
    """A copy in colour, to be drawn on."""
    return np.array(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)


def draw_box(canvas, box, color, line):
    """A rectangle of ``line`` pixels on uint8 ``[h, w, 3]``, in place; x1, y1, x2, y2."""
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = (round(side) for side in box)
    x1, x2 = max(0, min(x1, width - 1)), max(1, min(x2, width))
    y1, y2 = max(0, min(y1, height - 1)), max(1, min(y2, height))
    for rows, columns in (
        (slice(y1, y1 + line), slice(x1, x2)),
        (slice(max(y2 - line, y1), y2), slice(x1, x2)),
        (slice(y1, y2), slice(x1, x1 + line)),
        (slice(y1, y2), slice(max(x2 - line, x1), x2)),
    ):
        canvas[rows, columns] = color


def draw_text(canvas, x, y, text, number, color):
    """Text on a ground of ``color``, its top left corner at x, y; in place.

    Where no font has the text, ``number`` stands for it.
    """
    size = max(12, canvas.shape[0] // 40)
    if not text.isascii() and Image is None:  # OpenCV's fonts have ASCII alone
        text = str(number)
    if Image is not None:
        patch = _text_with_pillow(text, size, color)
    elif cv2 is not None:
        patch = _text_with_opencv(text, size, color)
    else:
        patch = _text_of_digits(str(number), max(2, size // 6), color)
    height, width = canvas.shape[:2]
    x, y = max(0, min(int(x), width - patch.shape[1])), max(0, int(y))
    patch = patch[: height - y, : width - x]
    canvas[y : y + patch.shape[0], x : x + patch.shape[1]] = patch


def _read_with_pillow(path):
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("Pillow cannot read it: %s" % error) from None


def _read_netpbm(data):
    fields, place = [], 0
    while len(fields) < 4:
        end = place
        while end < len(data) and data[end : end + 1] not in b" \t\r\n":
            end += 1
        if data[place : place + 1] == b"#":
            place = data.index(b"\n", place) + 1
            continue
        if end > place:
            fields.append(data[place:end])
        place = end + 1
        if place > len(data):
            raise ValueError("not a readable PPM or PGM file")
    width, height, greatest = (int(field) for field in fields[1:])
    shape = (height, width, 3) if fields[0] == b"P6" else (height, width)
    if greatest != 255 or len(data) - place < np.prod(shape):
        raise ValueError("not an 8-bit PPM or PGM file, or a truncated one")
    return np.frombuffer(data, np.uint8, int(np.prod(shape)), place).reshape(shape)


def _text_with_pillow(text, size, color):
    try:
        font = ImageFont.load_default(size)
    except TypeError:  # before 10.1 it has one size
        font = ImageFont.load_default()
    left, top, right, bottom = font.getbbox(text)
    patch = Image.new("RGB", (int(right - left) + 4, int(bottom - top) + 4), tuple(color))
    ImageDraw.Draw(patch).text((2 - left, 2 - top), text, font=font, fill=(255, 255, 255))
    return np.asarray(patch)


def _text_with_opencv(text, size, color):
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 30.0
    (width, height), base = cv2.getTextSize(text, font, scale, 1)
    patch = np.full((height + base + 4, width + 4, 3), color, np.uint8)
    cv2.putText(patch, text, (2, height + 2), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return patch


def _text_of_digits(text, zoom, color):
    patch = np.full((7, 4 * len(text) + 1, 3), color, np.uint8)
    for place, digit in enumerate(text):
        for row, bits in enumerate(_DIGITS[int(digit)]):
            for column in range(3):
                if bits >> (2 - column) & 1:
                    patch[row + 1, 4 * place + column + 1] = 255
    return patch.repeat(zoom, axis=0).repeat(zoom, axis=1)
