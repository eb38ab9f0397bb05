"""Detection: a network's raw maps in, boxes in image pixels out. NumPy alone.

The networks' graphs end with raw maps (see :mod:`edgeark.zoo.yolox`); sigmoid, grid, anchors, the
distributions of box sides and non-maximum suppression are here. A place whose objectness alone, or
whose best class where there is none, is under the threshold is never decoded: that is most of them.

Two ways to read a place's classes: ``detect`` takes the best class, one box a place, which is what
an application wants. ``multi_label`` takes every class above the threshold, one box each, which is
how YOLOv5 measures its mean average precision (at a threshold of 0.001); YOLOX measures with the
best class (at 0.01).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from .boxes import Boxes, areas, nms
from .letterbox import Letterbox

if TYPE_CHECKING:
    from ..spec import ModelSpec

Anchors = Sequence[Sequence[tuple[float, float]]]

# exp(20) times a stride is wider than any image, and its square is still a float32.
_MAX_EXPONENT = 20.0

# ``box`` is [x1, y1, x2, y2] in image pixels, ``class`` the index of ``name`` in the spec.
Detection = TypedDict("Detection", {"box": list[float], "score": float, "class": int, "name": str})


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))`` without overflow."""
    return 1 / (1 + np.exp(np.minimum(-x, 80.0)))


def decode_yolov5(
    outputs: Sequence[np.ndarray],
    strides: Sequence[int],
    anchors: Anchors,
    threshold: float,
    *,
    multi_label: bool = False,
) -> list[Boxes]:
    """Candidates of each image, in input pixels, before any suppression.

    ``xy = (2 sigmoid - 0.5 + cell) * stride``, ``wh = (2 sigmoid)^2 * anchor``, score = objectness
    times class (Ultralytics' YOLOv5).

    Args:
        outputs: one raw map a stride, ``[N, anchors * (5 + classes), h, w]``; an anchor's channels
            are x, y, w, h, objectness, classes.
        strides: input pixels per cell, one a map.
        anchors: widths and heights in input pixels, for each map.
        threshold: only scores above it.
        multi_label: every class above the threshold instead of the best one.

    Raises:
        ValueError: the maps do not fit strides and anchors.
    """
    if not len(outputs) == len(strides) == len(anchors):
        raise ValueError(
            f"{len(strides)} strides and {len(anchors)} sets of anchors need as many maps, "
            f"got {len(outputs)}"
        )
    found = []
    for output, stride, sizes in zip(map(_as_float, outputs), strides, anchors, strict=True):
        count, channels, height, width = output.shape
        if channels % len(sizes) or channels // len(sizes) < 6:
            raise ValueError(f"{channels} channels are not {len(sizes)} times 5 + classes")
        raw = output.reshape(count, len(sizes), -1, height, width)
        objectness = sigmoid(raw[:, :, 4])
        image, anchor, row, column = np.nonzero(objectness > threshold)
        values = sigmoid(raw[image, anchor, :, row, column])
        centre = (2 * values[:, :2] - 0.5 + _cells(column, row, values)) * stride
        size = (2 * values[:, 2:4]) ** 2 * np.asarray(sizes, values.dtype)[anchor]
        scores = values[:, 4:5] * values[:, 5:]
        found.append((image, centre, size, scores))
    return _gather(found, len(outputs[0]), threshold, multi_label)


def decode_yolox(
    outputs: Sequence[np.ndarray],
    strides: Sequence[int],
    threshold: float,
    *,
    multi_label: bool = False,
    activated: bool = False,
) -> list[Boxes]:
    """Candidates of each image, in input pixels, before any suppression.

    ``xy = (raw + cell) * stride``, ``wh = exp(raw) * stride``, score = objectness times class
    (Ge et al. 2021).

    Args:
        outputs: three maps a stride, ``[N, 4, h, w]``, ``[N, 1, h, w]`` and ``[N, classes, h, w]``:
            box, objectness, classes; or one with all of them, ``[N, 5 + classes, h, w]``.
        strides: input pixels per cell, coarser ones last, as the maps are.
        threshold: only scores above it.
        multi_label: every class above the threshold instead of the best one.
        activated: objectness and classes went through the sigmoid in the graph, as they did in the
            joined maps of YOLOX's own export.

    Raises:
        ValueError: the maps do not fit the strides.
    """
    found = []
    for (box, objectness, classes), stride in zip(
        _split(outputs, len(strides)), strides, strict=True
    ):
        likely = objectness[:, 0] if activated else sigmoid(objectness[:, 0])
        image, row, column = np.nonzero(likely > threshold)
        values = classes[image, :, row, column]
        raw = box[image, :, row, column]
        centre = (raw[:, :2] + _cells(column, row, raw)) * stride
        size = np.exp(np.minimum(raw[:, 2:], _MAX_EXPONENT)) * stride
        scores = likely[image, row, column, None] * (values if activated else sigmoid(values))
        found.append((image, centre, size, scores))
    return _gather(found, len(outputs[0]), threshold, multi_label)


def decode_dfl(
    outputs: Sequence[np.ndarray],
    strides: Sequence[int],
    threshold: float,
    *,
    multi_label: bool = False,
) -> list[Boxes]:
    """Candidates of each image, in input pixels, before any suppression.

    A side's distance from the cell's centre is the mean of a distribution over 0, 1, ... cells
    (softmax of its logits; Li et al., "Generalized focal loss", 2020), or of a single bin the value
    itself. Score = class, as there is no objectness (YOLOv8, YOLO11).

    Args:
        outputs: two maps a stride, ``[N, 4 * bins, h, w]`` and ``[N, classes, h, w]``: the bins of
            the left, top, right and bottom side, and the classes, all as logits.
        strides: input pixels per cell, coarser ones last, as the maps are.
        threshold: only scores above it.
        multi_label: every class above the threshold instead of the best one.

    Raises:
        ValueError: the maps do not fit the strides.
    """
    if len(outputs) != 2 * len(strides):
        raise ValueError(
            f"{len(strides)} strides need {2 * len(strides)} maps (box, classes), "
            f"got {len(outputs)}"
        )
    maps = [_as_float(output) for output in outputs]
    found = []
    for box, classes, stride in zip(maps[::2], maps[1::2], strides, strict=True):
        bins, rest = divmod(box.shape[1], 4)
        if rest or not bins:
            raise ValueError(f"{box.shape[1]} channels are not four sides of equally many bins")
        image, row, column = np.nonzero(sigmoid(classes.max(axis=1)) > threshold)
        logits = box[image, :, row, column].reshape(-1, 4, bins)
        sides = logits[:, :, 0] if bins == 1 else _means(logits)  # left, top, right, bottom
        low, high = sides[:, :2], sides[:, 2:]
        centre = (_cells(column, row, sides) + 0.5 + (high - low) / 2) * stride
        scores = sigmoid(classes[image, :, row, column])
        found.append((image, centre, (low + high) * stride, scores))
    return _gather(found, len(outputs[0]), threshold, multi_label)


def decode(
    spec: ModelSpec, outputs: Sequence[np.ndarray], threshold: float, *, multi_label: bool = False
) -> list[Boxes]:
    """Candidates of each image from a network of the zoo, by the kind of its head.

    Raises:
        ValueError: the maps do not fit the spec, or its ``head`` is of no known kind.
    """
    if spec.head == "yolov5":
        return decode_yolov5(
            outputs, spec.strides, spec.anchors, threshold, multi_label=multi_label
        )
    if spec.head == "yolox":
        return decode_yolox(outputs, spec.strides, threshold, multi_label=multi_label)
    if spec.head == "dfl":
        return decode_dfl(outputs, spec.strides, threshold, multi_label=multi_label)
    raise ValueError(f"no decoder for the head {spec.head!r} of a detector")


def detect_arrays(
    spec: ModelSpec,
    outputs: Sequence[np.ndarray],
    mappings: Sequence[Letterbox],
    threshold: float | None = None,
    iou: float | None = None,
    *,
    multi_label: bool = False,
    max_detections: int | None = None,
) -> list[Boxes]:
    """The detections of a batch as arrays, in the pixels of each image, best first.

    Args:
        spec: the network's.
        outputs: its raw maps, batch N.
        mappings: where each of the N images lies in its input.
        threshold: only scores above it; None, like the two below: as the spec says.
        iou: two boxes of one class that overlap by more are one object.
        multi_label: every class above the threshold instead of a place's best one.
        max_detections: at most so many an image, before those without area are dropped.

    Raises:
        ValueError: the maps do not fit the spec, or the mappings the batch.
    """
    threshold = spec.score_threshold if threshold is None else threshold
    iou = spec.iou_threshold if iou is None else iou
    limit = spec.max_boxes if max_detections is None else max_detections
    candidates = decode(spec, outputs, threshold, multi_label=multi_label)
    answers = []
    for boxes, mapping in zip(candidates, mappings, strict=True):
        best = nms(boxes, iou, limit)
        mapped = Boxes(mapping.to_image(best.xyxy), best.scores, best.classes)
        answers.append(mapped.pick(areas(mapped.xyxy) > 0))  # what lay in the grey alone has none
    return answers


def detect(
    spec: ModelSpec,
    outputs: Sequence[np.ndarray],
    mapping: Letterbox,
    threshold: float | None = None,
    iou: float | None = None,
) -> list[Detection]:
    """What is to be seen in one image, best first; see :func:`detect_arrays`."""
    (boxes,) = detect_arrays(spec, outputs, [mapping], threshold, iou)
    return [
        {"box": xyxy, "score": score, "class": index, "name": spec.classes[index]}
        for xyxy, score, index in zip(
            boxes.xyxy.tolist(), boxes.scores.tolist(), boxes.classes.tolist(), strict=True
        )
    ]


def _as_float(output: np.ndarray) -> np.ndarray:
    """Float32 of a runtime's float16 or integers; what is wider stays so."""
    return output.astype(np.result_type(output.dtype, np.float32), copy=False)


def _means(logits: np.ndarray) -> np.ndarray:
    """The mean bin of each distribution, ``[n, sides, bins]`` to ``[n, sides]``."""
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    return shares @ np.arange(logits.shape[2], dtype=logits.dtype) / shares.sum(axis=2)


def _cells(column: np.ndarray, row: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Grid places ``[n, 2]``, x first, in the precision of ``like``."""
    return np.stack([column, row], axis=1).astype(like.dtype)


def _split(
    outputs: Sequence[np.ndarray], count: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Box, objectness and classes of each stride."""
    maps = [_as_float(output) for output in outputs]
    if len(maps) == count:
        trios = [(m[:, :4], m[:, 4:5], m[:, 5:]) for m in maps]
    elif len(maps) == 3 * count:
        trios = list(zip(maps[::3], maps[1::3], maps[2::3], strict=True))
    else:
        raise ValueError(
            f"{count} strides need {3 * count} maps, or {count} joined; got {len(maps)}"
        )
    for box, objectness, classes in trios:
        channels = [part.shape[1] for part in (box, objectness, classes)]
        if channels[:2] != [4, 1] or not channels[2]:
            raise ValueError(
                f"maps have 4, 1 and some channels (box, objectness, classes), got {channels}"
            )
    return trios


def _gather(
    found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    count: int,
    threshold: float,
    multi_label: bool,
) -> list[Boxes]:
    """Boxes of each image from image index, centre, size and class scores of all strides."""
    image, centre, size, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    xyxy = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    if multi_label:
        place, index = np.nonzero(scores > threshold)
    else:
        index = scores.argmax(axis=1)
        place = np.flatnonzero(scores.max(axis=1) > threshold)
        index = index[place]
    boxes = Boxes(xyxy[place], scores[place, index], index)
    return [boxes.pick(image[place] == i) for i in range(count)]
