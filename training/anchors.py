"""Anchors: which of them belong to a box, how well they fit a data set, and better ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..zoo.yolov5 import Anchors

MAX_RATIO = 4.0  # an anchor takes a box whose sides are within this factor of its own (YOLOv5)
GOOD_RECALL = 0.98


def best_possible_recall(sides: np.ndarray, anchors: Anchors) -> float:
    """Share of boxes that some anchor takes, in 0..1.

    Args:
        sides: ``[n, 2]``: widths and heights in input pixels.
        anchors: likewise in input pixels.
    """
    every = np.array(anchors, np.float64).reshape(-1, 2)
    ratio = sides[:, None] / every[None]
    worst = np.maximum(ratio, 1 / ratio).max(axis=2)
    return float((worst.min(axis=1) < MAX_RATIO).mean())


def choose_anchors(labels: Sequence[np.ndarray] | np.ndarray, anchors: Anchors) -> Anchors:
    """``anchors``, or ones fitted to the boxes if those leave out more than 2 % of them.

    Args:
        labels: arrays ``[k, 5]``: x1, y1, x2, y2 in input pixels, class.
    """
    boxes = np.concatenate([np.zeros((0, 5)), *labels])
    sides = boxes[:, 2:4] - boxes[:, :2]
    if len(sides) == 0 or best_possible_recall(sides, anchors) >= GOOD_RECALL:
        return anchors
    fitted = fit_anchors(sides, len(anchors), len(anchors[0]))
    better = best_possible_recall(sides, fitted) > best_possible_recall(sides, anchors)
    return fitted if better else anchors


def fit_anchors(sides: np.ndarray, scales: int, per_scale: int) -> Anchors:
    """Centres of k-means over ``(log width, log height)``, small ones at the finest scale.

    Redmon and Farhadi (YOLO9000, 2016) cluster boxes by their overlap. What decides here is the
    ratio of sides, and a distance of logarithms is a ratio.

    Args:
        sides: ``[n, 2]`` in input pixels, n >= 1.
    """
    from sklearn.cluster import KMeans

    logs = np.log(sides)
    count = min(scales * per_scale, len(np.unique(logs, axis=0)))
    centres = KMeans(count, n_init="auto", random_state=0).fit(logs).cluster_centers_
    found = np.exp(centres)[np.argsort(centres.sum(axis=1))]
    # Fewer different boxes than anchors: some anchors are there twice.
    filled = found[np.arange(scales * per_scale) * count // (scales * per_scale)]
    pairs = [(round(float(w), 1), round(float(h), 1)) for w, h in filled]
    return tuple(tuple(pairs[i * per_scale : (i + 1) * per_scale]) for i in range(scales))
