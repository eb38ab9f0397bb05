"""Scored boxes, and which of them are the same object: non-maximum suppression. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 1024  # candidates that are compared at once with the boxes kept so far


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, as arrays.

    ``xyxy`` is ``[n, 4]``: x1, y1, x2, y2 in pixels; ``scores`` and ``classes`` are ``[n]``.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def pick(self, which: np.ndarray) -> Boxes:
        """Those at the indices, or under the mask, ``which``."""
        return Boxes(self.xyxy[which], self.scores[which], self.classes[which])


def areas(xyxy: np.ndarray) -> np.ndarray:
    """Areas of boxes ``[n, 4]``."""
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of ``[n, 4]`` and ``[m, 4]`` boxes: ``[n, m]``; 0 without area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    union = areas(first)[:, None] + areas(second)[None] - common
    return common / np.maximum(union, np.finfo(union.dtype).tiny)


def nms(boxes: Boxes, iou: float, max_detections: int = 300) -> Boxes:
    """The best boxes of which no two of one class overlap by more than ``iou``, best first.

    Greedy: a box goes where a better one of its class stays. Of equal scores the earlier is the
    better one, so that the answer is always the same. The work is done in chunks, and ends with
    the ``max_detections``-th box: what follows could not be kept.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    kept = np.empty(0, np.intp)
    for start in range(0, len(order), _CHUNK):
        rest = order[start : start + _CHUNK]
        rest = rest[~_covered(boxes, rest, kept, iou).any(axis=1)]
        chosen = []
        while len(rest) and len(kept) + len(chosen) < max_detections:
            chosen.append(rest[0])
            rest = rest[1:][~_covered(boxes, rest[1:], rest[:1], iou)[:, 0]]
        kept = np.append(kept, np.array(chosen, np.intp))
        if len(kept) == max_detections:
            break
    return boxes.pick(kept)


def _covered(boxes: Boxes, these: np.ndarray, by: np.ndarray, iou: float) -> np.ndarray:
    """Whether each of ``these`` overlaps each one of its own class ``by`` too much: ``[n, m]``."""
    overlap = pairwise_iou(boxes.xyxy[these], boxes.xyxy[by]) > iou
    return overlap & (boxes.classes[these][:, None] == boxes.classes[by][None])
