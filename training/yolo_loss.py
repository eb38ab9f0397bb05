"""The loss of YOLOv5: which cells answer for a box, and what they should say.

Written from the published description ("YOLOv5 by Ultralytics", architecture summary, 2020 to
2022). An anchor answers for a box where width and height differ by less than a factor of four; in
its map the cell with the box's centre answers, and the two neighbours nearest to the centre, which
the decoder's range of -0.5 to 1.5 cells allows. Boxes are drawn by complete IoU (Zheng et al.,
"Distance-IoU loss", 2019), objectness is taught to be the IoU, classes are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot

from .anchors import MAX_RATIO
from .cells import box_loss, elementwise_iou

# The published weights of the parts, for three scales, images of 640 and 80 classes.
_BOX, _OBJECT, _CLASS = 0.05, 1.0, 0.5
_BALANCE = (4.0, 1.0, 0.4)  # of objectness: fine maps have more cells and fewer objects in each


@dataclass(frozen=True)
class Match:
    """``m`` places of one map that answer for a box: int64 ``[m]`` but ``boxes``.

    ``boxes`` are the boxes' x1, y1, x2, y2 in input pixels, float32 ``[m, 4]``.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    classes: Tensor
    boxes: Tensor


def match_boxes(targets: Tensor, anchors: Tensor, stride: int, size: tuple[int, int]) -> Match:
    """The places of one map that answer for the boxes of a batch.

    Args:
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        anchors: ``[A, 2]``: width, height in input pixels.
        stride: input pixels per cell.
        size: the map's ``(height, width)``.
    """
    corners = targets[:, 1:5]
    sides = corners[:, 2:] - corners[:, :2]
    ratio = sides[:, None] / anchors[None]
    box, anchor = torch.nonzero(
        torch.maximum(ratio, 1 / ratio).amax(dim=2) < MAX_RATIO, as_tuple=True
    )
    limits = torch.tensor([size[1], size[0]], device=targets.device)
    centre = (corners[box, :2] + corners[box, 2:]) / (2 * stride)
    own = centre.floor().long()
    step = torch.where(centre - own < 0.5, -1, 1)  # to the nearer neighbour, along x and along y
    across = torch.stack([step[:, 0], torch.zeros_like(step[:, 0])], 1)
    cells = torch.stack([own, own + across, own + step - across])  # [3, n, 2]
    inside = ((cells >= 0) & (cells < limits)).all(dim=2)
    which = torch.nonzero(inside, as_tuple=True)[1]
    column, row = cells[inside].unbind(dim=1)
    box = box[which]
    image, classes = targets[box, 0].long(), targets[box, 5].long()
    return Match(image, anchor[which], row, column, classes, corners[box])


def decode_boxes(values: Tensor, match: Match, anchors: Tensor, stride: int) -> Tensor:
    """Boxes x1, y1, x2, y2 in input pixels from the raw x, y, w, h of matched places ``[m, 4]``."""
    cell = torch.stack([match.column, match.row], 1)
    share = values.sigmoid()
    centre = (2 * share[:, :2] - 0.5 + cell) * stride
    half = (2 * share[:, 2:]) ** 2 * anchors[match.anchor] / 2
    return torch.cat([centre - half, centre + half], 1)


@dataclass(frozen=True)
class LossParts:
    """Unweighted means, summed over the scales; ``objectness`` is balanced between them."""

    box: Tensor
    objectness: Tensor
    classes: Tensor


def loss_parts(
    outputs: Sequence[Tensor], targets: Tensor, anchors: Tensor, strides: Sequence[int]
) -> LossParts:
    """Compare raw maps with boxes.

    Args:
        outputs: a map a stride, ``[N, A * (5 + classes), h, w]``.
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        anchors: ``[scales, A, 2]`` in input pixels.
        strides: input pixels per cell.
    """
    drawn_loss, object_loss, class_loss = (outputs[0].new_zeros((), dtype=torch.float32),) * 3
    for output, sides, stride, balance in zip(outputs, anchors, strides, _BALANCE, strict=True):
        count, _, height, width = output.shape
        raw = output.float().view(count, len(sides), -1, height, width)
        wanted = torch.zeros(raw[:, :, 4].shape, device=raw.device)
        match = match_boxes(targets, sides, stride, (height, width))
        if len(match.boxes):
            values = raw[match.image, match.anchor, :, match.row, match.column]
            boxes = decode_boxes(values[:, :4], match, sides, stride)
            drawn_loss = drawn_loss + box_loss(boxes, match.boxes).mean()
            # Where a place answers for two boxes, the one that it fits better counts.
            place = (match.image * len(sides) + match.anchor) * height + match.row
            place = place * width + match.column
            overlap = elementwise_iou(boxes.detach(), match.boxes)
            wanted.view(-1).scatter_reduce_(0, place, overlap, "amax")
            right = one_hot(match.classes, values.shape[1] - 5).float()
            class_loss = class_loss + bce(values[:, 5:], right)
        object_loss = object_loss + balance * bce(raw[:, :, 4], wanted)
    return LossParts(drawn_loss, object_loss, class_loss)


def yolo_loss(
    outputs: Sequence[Tensor],
    targets: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    input_size: tuple[int, int],
) -> Tensor:
    """One figure from :func:`loss_parts`, in the published proportions.

    Objectness shrinks with the image's area and classes with their number, as more of either
    make more terms of the sum. One class alone needs no class loss: objectness says it.
    """
    parts = loss_parts(outputs, targets, anchors, strides)
    classes = outputs[0].shape[1] // anchors.shape[1] - 5
    area = input_size[0] * input_size[1] / 640**2
    class_weight = _CLASS * classes / 80 if classes > 1 else 0.0
    return _BOX * parts.box + _OBJECT * area * parts.objectness + class_weight * parts.classes
