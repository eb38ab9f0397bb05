"""Segmentation: an image in, a mask of its size out, and how good a mask is. NumPy alone.

A network's raw output is logits ``[N, classes, h, w]``. A mask is uint8 ``[N, H, W]``. With one
class, 1 is that class and 0 is the rest; with several, a pixel's value is the index of its class,
and class 0 is the background. Pixels of a true mask that are ``IGNORE`` count nowhere.

Images go in through :func:`edgeark.zoo.tasks.images.to_input`, stretched to the network's size;
:func:`resize_logits` stretches the answer back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .images import resize_matrix

IGNORE = 255  # of a true mask: pixels that belong to no class and count nowhere

Rgb = tuple[int, int, int]
_PALETTE: tuple[Rgb, ...] = ((230, 60, 50), (60, 130, 240), (70, 190, 90), (240, 190, 40))


def to_mask(output: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Masks ``[N, h, w]`` from raw logits ``[N, classes, h, w]``.

    Args:
        output: one class: sigmoid logits; several: the largest wins, the first of equals.
        threshold: of one class: the probability, inside 0..1, that a pixel must exceed.

    Raises:
        ValueError: the array has no four dimensions, or the threshold is not inside 0..1.
    """
    if output.ndim != 4:
        raise ValueError(f"logits are [N, classes, h, w], got {output.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"a probability threshold lies inside 0..1, got {threshold}")
    if output.shape[1] > 1:
        return output.argmax(axis=1).astype(np.uint8)
    return (output[:, 0] > math.log(threshold / (1 - threshold))).astype(np.uint8)


def resize_logits(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits ``[N, classes, h, w]`` bilinearly at another ``(height, width)``, float32.

    Resizing logits and then taking the mask gives a smooth border, where a resized mask has stairs.
    """
    rows, columns = (
        resize_matrix(old, new) for old, new in zip(output.shape[2:], size, strict=True)
    )
    return rows @ output.astype(np.float32) @ columns.T


def overlay(
    image: np.ndarray, mask: np.ndarray, colors: Mapping[int, Rgb], opacity: float = 0.5
) -> np.ndarray:
    """The image with the mask's values painted over it: uint8 ``[h, w, 3]``.

    Args:
        image: uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb).
        mask: ``[h, w]``, of the image's size.
        colors: rgb by mask value; a value that is not there stays as it is.
        opacity: 0 shows the image, 1 the colour.

    Raises:
        ValueError: image and mask differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"the image is {image.shape[:2]}, the mask {mask.shape}")
    planes = image[..., None] if image.ndim == 2 else image
    painted = np.broadcast_to(planes, (*mask.shape, 3)).astype(np.float32)
    for value, color in colors.items():
        here = mask == value
        painted[here] = (1 - opacity) * painted[here] + opacity * np.array(color, np.float32)
    return np.rint(painted).astype(np.uint8)


def class_colors(num_classes: int) -> dict[int, Rgb]:
    """A colour for every mask value but the background's, for :func:`overlay`."""
    return {i: _PALETTE[(i - 1) % len(_PALETTE)] for i in range(1, max(num_classes, 2))}


def dice(found: np.ndarray, wanted: np.ndarray, num_classes: int) -> np.ndarray:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of each image and class, ``[N, K]``.

    Args:
        found: masks ``[N, h, w]``.
        wanted: the true masks, of the same shape.
        num_classes: 1: ``K`` is 1, the value 1; more: ``K`` classes, the background among them.

    Returns:
        0..1. A class that is in neither mask scores 1: to find nothing where nothing is, is right.
        Where one mask alone has it, the score is 0.
    """
    both, sizes = _areas(found, wanted, num_classes)
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)


def iou(found: np.ndarray, wanted: np.ndarray, num_classes: int) -> np.ndarray:
    """Intersection over union of each image and class, ``[N, K]``; see :func:`dice`."""
    both, sizes = _areas(found, wanted, num_classes)
    return np.where(sizes > 0, both / np.maximum(sizes - both, 1), 1.0)


def has_foreground(wanted: np.ndarray) -> np.ndarray:
    """Which images have anything in their true mask ``[N, h, w]``: bool ``[N]``."""
    return np.any((wanted != 0) & (wanted != IGNORE), axis=(1, 2))


def foreground_dice(found: np.ndarray, wanted: np.ndarray, num_classes: int) -> np.ndarray:
    """Dice of each marked image, ``[M]``; the task's metric, ``dice``, is their mean.

    A clean image scores 1 or 0 by a single pixel and would hide the others; see
    :func:`false_alarms`. Of several classes those count that either mask has, without the
    background, and their mean is the image's.

    Args:
        found: masks ``[N, h, w]``.
        wanted: the true masks, of the same shape; ``M`` of them are not 0 everywhere.
        num_classes: see :func:`dice`.
    """
    both, sizes = (a[has_foreground(wanted)] for a in _areas(found, wanted, num_classes))
    if num_classes > 1:
        both, sizes = both[:, 1:], sizes[:, 1:]
    return (2 * both / np.maximum(sizes, 1)).sum(axis=1) / (sizes > 0).sum(axis=1)


def false_positive_rate(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the clean images, whose true mask is 0 everywhere, with a pixel found in them.

    Both are masks ``[N, h, w]``. Where no image is clean there is none to raise a false alarm
    in: 0.
    """
    clean = ~has_foreground(wanted)
    counted = (found != 0) & (wanted != IGNORE)
    return float(counted[clean].any(axis=(1, 2)).mean()) if clean.any() else 0.0


def _areas(
    found: np.ndarray, wanted: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that both masks have, and the sum of those of each: two arrays ``[N, K]``."""
    if found.shape != wanted.shape:
        raise ValueError(f"masks of {found.shape} cannot be compared with {wanted.shape}")
    values = range(1, 2) if num_classes == 1 else range(num_classes)
    both, sizes = [], []
    for value in values:
        a, b = (found == value) & (wanted != IGNORE), wanted == value
        both.append((a & b).sum(axis=(1, 2)))
        sizes.append(a.sum(axis=(1, 2)) + b.sum(axis=(1, 2)))
    return np.stack(both, axis=1), np.stack(sizes, axis=1)
