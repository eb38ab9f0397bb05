"""From an image to a network's input, the same for every task. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LARGE, _LONG = 2**26, 2**14  # values, and pixels a side, above which an image is shrunk in bands


def to_input(image: np.ndarray, input_size: tuple[int, int], channels: int) -> np.ndarray:
    """An image as a network's raw input: uint8 ``[1, channels, height, width]`` in 0..255.

    Args:
        image: uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), of any size.
        input_size: the network's ``(height, width)``; the image is resized to it.
        channels: 1 turns colour into luminance (ITU-R BT.601), 3 repeats a gray channel.

    Raises:
        ValueError: the array is not a uint8 image.
    """
    return resize(to_planes(shrink_large(image, input_size), channels), input_size)[None]


def to_planes(image: np.ndarray, channels: int) -> np.ndarray:
    """An image as float32 ``[h, w, channels]`` in 0..255, unresized; see :func:`to_input`."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"an image is uint8 [h, w] or [h, w, 3], got {image.dtype} {image.shape}")
    planes = image[..., None] if image.ndim == 2 else image
    if planes.shape[2] not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, got {planes.shape[2]}")
    pixels = planes.astype(np.float32)
    if planes.shape[2] == 3 and channels == 1:
        pixels = pixels @ np.array([[0.299], [0.587], [0.114]], np.float32)
    elif planes.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float32 ``[h, w, C]`` in 0..255 to uint8 ``[C, *size]``; see :func:`resize_matrix`."""
    if planes.shape[:2] == tuple(size):
        return np.rint(planes).astype(np.uint8).transpose(2, 0, 1)
    rows, columns = (
        resize_matrix(old, new) for old, new in zip(planes.shape[:2], size, strict=True)
    )
    resized = np.einsum("ih,hwc,jw->cij", rows, planes, columns, optimize=True)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def shrink_large(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A large image with no side longer than ``(height, width)``, by bands; others as they are.

    Neither a dense matrix nor a float copy of the image is made. The side that shrinks most comes
    first; one that does not shrink stays.
    """
    if image.ndim < 2 or (image.size <= _LARGE and max(image.shape[:2]) <= _LONG):
        return image
    for axis in sorted((0, 1), key=lambda axis: size[axis] / image.shape[axis]):
        old, new = image.shape[axis], size[axis]
        if new >= old:
            continue
        ratio = old / new
        bands = []
        for index in range(new):
            centre = (index + 0.5) * ratio - 0.5
            start, stop = max(0, int(centre - ratio)), min(old, int(centre + ratio) + 2)
            weights = np.maximum(0, 1 - np.abs(np.arange(start, stop) - centre) / ratio)
            part = image[start:stop] if axis == 0 else image[:, start:stop]
            bands.append(np.tensordot(weights / weights.sum(), part, axes=(0, axis)))
        image = np.clip(np.rint(np.stack(bands, axis=axis)), 0, 255).astype(np.uint8)
    return image


def normalize(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """``(pixel - mean) / std`` a channel: raw ``[N, C, H, W]`` in 0..255 in, float32 out."""
    shape = (1, -1, 1, 1)
    mean_array, std_array = (np.asarray(v, np.float32).reshape(shape) for v in (mean, std))
    return (images.astype(np.float32) - mean_array) / std_array


def network_inputs(
    samples: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> list[np.ndarray]:
    """What goes into a network, ``[N, ...]`` float32 each, in its order.

    Args:
        samples: raw images, uint8 ``[N, C, H, W]``, which are normalised; or records ``[N]``, one
            field an input, which stay as they are.
        mean: per channel, see :func:`normalize`.
        std: per channel.
    """
    if samples.dtype.names is None:
        return [normalize(samples, mean, std)]
    return [np.asarray(samples[name], np.float32) for name in samples.dtype.names]


def resize_matrix(old: int, new: int) -> np.ndarray:
    """Bilinear interpolation along one axis as a matrix ``[new, old]``.

    Pixel centres are at half-integers. When it shrinks, the triangle is widened by the factor, so
    that every source pixel counts (as Pillow's BILINEAR does; OpenCV's INTER_LINEAR does not).
    """
    ratio = old / new
    width = max(ratio, 1.0)
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(old)[None] - centres[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
