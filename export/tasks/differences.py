"""Where an answer differs from PyTorch's, drawn over a pale copy of the image, for a report."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ...zoo.tasks.boxes import Boxes, pairwise_iou
from ...zoo.tasks.segmentation import Rgb, overlay
from .base import Difference
from .drawing import photo_uri, to_rgb

ALONE: Rgb = (222, 104, 20)  # the target finds it, PyTorch does not
MISSED: Rgb = (34, 94, 216)  # PyTorch finds it, the target does not
OTHER: Rgb = (198, 24, 60)  # both find something, of different classes
_SAME: Rgb = (120, 120, 120)
_PALE = 0.6
_VISIBLE = 1.0  # pixel
_SAME_IOU = 0.5  # boxes of one class that overlap by more are of one object


def mask_difference(
    pixels: np.ndarray, color: str, found: np.ndarray, wanted: np.ndarray
) -> Difference:
    """Of two masks: which pixels are of another class.

    Args:
        pixels: the raw input, uint8 ``[C, H, W]``.
        color: the order of its channels.
        found: the target's mask ``[H, W]``; 0 is the background.
        wanted: PyTorch's.
    """
    differs = found != wanted
    count = int(differs.sum())
    if not count:
        return Difference("the same mask")
    kinds = np.where(wanted == 0, 1, np.where(found == 0, 2, 3)) * differs
    colors = {1: ALONE, 2: MISSED, 3: OTHER}
    drawn = overlay(_pale(pixels, color), kinds, colors, opacity=1.0)
    share = 100 * count / differs.size
    return Difference(f"difference: {count:,} px ({share:.2g} %)", photo_uri(drawn))


def box_difference(pixels: np.ndarray, color: str, found: Boxes, wanted: Boxes) -> Difference:
    """Of two sets of boxes: which of them the other one lacks, and how far the common ones moved.

    Args:
        pixels: the raw input, uint8 ``[C, H, W]``.
        color: the order of its channels.
        found: the target's boxes in the input's pixels.
        wanted: PyTorch's.
    """
    pairs = _match(found, wanted)
    alone = sorted({*range(len(found.scores))} - {one for one, _ in pairs})
    missed = sorted({*range(len(wanted.scores))} - {other for _, other in pairs})
    one, other = np.array(pairs, int).reshape(-1, 2).T
    moved = float(np.abs(found.xyxy[one] - wanted.xyxy[other]).max(initial=0))
    scores = float(np.abs(found.scores[one] - wanted.scores[other]).max(initial=0))
    parts = [f"{len(alone)} alone"] * bool(alone) + [f"{len(missed)} missed"] * bool(missed)
    if pairs:
        parts.append(f"{len(pairs)} common: sides within {moved:.2g} px, scores {scores:.2g}")
    if not alone and not missed and moved < _VISIBLE:
        return Difference(", ".join(parts) or "no box in either")
    canvas = Image.fromarray(_pale(pixels, color))
    pen = ImageDraw.Draw(canvas)
    for boxes, indices, outline in (
        (wanted, other, _SAME),
        (found, one, _SAME),
        (wanted, missed, MISSED),
        (found, alone, ALONE),
    ):
        for x1, y1, x2, y2 in np.round(boxes.xyxy[indices]).tolist():
            pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=outline, width=2)
    return Difference(", ".join(parts), photo_uri(np.asarray(canvas)))


def _match(found: Boxes, wanted: Boxes) -> list[tuple[int, int]]:
    """Pairs of one class, those that overlap most first; each box once."""
    overlap = pairwise_iou(found.xyxy, wanted.xyxy)
    overlap = overlap * (found.classes[:, None] == wanted.classes[None])
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() > _SAME_IOU:
        one, other = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(one), int(other)))
        overlap[one], overlap[:, other] = 0, 0
    return pairs


def _pale(pixels: np.ndarray, color: str) -> np.ndarray:
    """In shades of a light gray: uint8 ``[H, W, 3]``."""
    image = to_rgb(pixels, color)
    gray = image if image.ndim == 2 else image.mean(axis=2)
    light = 255 - (1 - _PALE) * (255 - gray.astype(np.float32))
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)
