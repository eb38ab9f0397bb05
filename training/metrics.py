"""Metrics of whole data sets: one code for validation, test and every exported artifact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..zoo.spec import ModelSpec
from ..zoo.tasks.boxes import Boxes
from ..zoo.tasks.detection import detect_arrays
from ..zoo.tasks.letterbox import Letterbox
from ..zoo.tasks.segmentation import false_positive_rate, foreground_dice, has_foreground
from .data import ImageSet

MAP_THRESHOLD = 0.001  # nearly every candidate counts: precision is averaged over all recalls
MAP_IOU = 0.6  # overlap at which two boxes are one; both as YOLOv5 measures


def mean_average_precision(
    spec: ModelSpec,
    outputs: Sequence[np.ndarray],
    labels: Sequence[np.ndarray] | np.ndarray,
    threshold: float = MAP_THRESHOLD,
) -> dict[str, float]:
    """COCO's mean average precision of raw maps, in 0..1.

    ``map50`` counts a box as found where one of its class overlaps it by half; ``map50_95`` is the
    mean over ten overlaps from 0.5 to 0.95; ``map50 <class>`` are the classes' own. At most 100
    boxes of a class and image count. Boxes are compared in the network's input: the letterbox
    scales both sides alike, so overlaps are those in the image. Classes that no label has count
    nowhere.

    Args:
        spec: the network's.
        outputs: its raw maps for N images.
        labels: N arrays ``[k, 5]``: x1, y1, x2, y2 in input pixels, class.
        threshold: only scores above it; a higher one is faster and gives a little less.
    """
    frames = [_whole_input(spec)] * len(labels)
    found = detect_arrays(spec, outputs, frames, threshold, MAP_IOU, multi_label=True)
    return box_scores(found, labels, spec.classes)


def mask_figures(found: np.ndarray, images: ImageSet) -> dict[str, float]:
    """Of masks ``[N, h, w]``: Dice over the marked images, also by group, and false alarms.

    In 0..1: ``dice``, :func:`marked_dice`'s mean; ``false_alarms`` over the clean images, where
    there are any; ``dice <group>``, where the images are of several.
    """
    wanted, classes = images.labels, len(images.classes)
    scores = foreground_dice(found, wanted, classes)
    result = {"dice": float(scores.mean()), "false_alarms": false_positive_rate(found, wanted)}
    groups = np.array([]) if images.groups is None else images.groups[has_foreground(wanted)]
    names = np.unique(groups)
    if len(names) > 1:
        result |= {f"dice {name}": float(scores[groups == name].mean()) for name in names}
    return result


def find_boxes(spec: ModelSpec, outputs: Sequence[np.ndarray]) -> list[Boxes]:
    """What an application would see, in pixels of the network's input: scores above 0.25."""
    return detect_arrays(spec, outputs, [_whole_input(spec)] * len(outputs[0]))


def true_boxes(labels: np.ndarray) -> Boxes:
    """The label ``[k, 5]`` of an image as boxes."""
    return Boxes(labels[:, :4], np.ones(len(labels)), labels[:, 4].astype(int))


def _whole_input(spec: ModelSpec) -> Letterbox:
    return Letterbox((1.0, 1.0), (0, 0), spec.input_size)


def box_scores(
    found: Sequence[Boxes], labels: Sequence[np.ndarray] | np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """The figures of :func:`mean_average_precision` for boxes that are decoded already."""
    from torchmetrics.detection import MeanAveragePrecision  # slow to import

    # Each process evaluates for itself: one that waited for the others' boxes would wait forever.
    metric = MeanAveragePrecision(
        backend="faster_coco_eval", extended_summary=True, sync_on_compute=False
    )
    metric.warn_on_many_detections = False
    metric.update(
        [
            {
                "boxes": torch.from_numpy(boxes.xyxy.astype(np.float32)),
                "scores": torch.from_numpy(boxes.scores.astype(np.float32)),
                "labels": torch.from_numpy(boxes.classes.astype(np.int64)),
            }
            for boxes in found
        ],
        [
            {
                "boxes": torch.from_numpy(rows[:, :4].astype(np.float32)),
                "labels": torch.from_numpy(rows[:, 4].astype(np.int64)),
            }
            for rows in labels
        ],
    )
    result = metric.compute()
    present = np.unique(np.concatenate([rows[:, 4] for rows in labels]).astype(int))
    # precision: overlaps, recalls, classes that occur in either, sizes (first: all), most boxes
    precision = result["precision"][..., 0, -1].mean(dim=1)
    order = result["classes"].reshape(-1).tolist()
    columns = precision[:, [order.index(index) for index in present]]
    half = columns[0].tolist()
    return {
        "map50": float(np.mean(half)) if half else 0.0,
        "map50_95": columns.mean().item() if half else 0.0,
        **{f"map50 {classes[i]}": value for i, value in zip(present, half, strict=True)},
    }
