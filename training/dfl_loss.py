"""The loss of YOLOv8 and YOLO11: which cells answer for a box, and what they should say.

Written from the papers. Cells are chosen by how well the network already answers there: the
task-aligned assignment of Feng et al. ("TOOD", arXiv 2108.07755). Its alignment, ``score^a *
IoU^b``, is also the class score that a chosen cell is taught. Sides of boxes are distributions over
bins, taught by the two bins around the true distance (Li et al., "Generalized focal loss", arXiv
2006.04388). Boxes are drawn by complete IoU (Zheng et al., "Distance-IoU loss", 2019), classes are
independent. Exponents, candidates per box and weights are YOLOv8's published settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import log_softmax

from .cells import Places, box_loss, elementwise_iou, owns_cell, rows_of_maps

_SCORE_EXPONENT, _IOU_EXPONENT = 0.5, 6.0
_CANDIDATES = 10  # cells that answer for one box, at most
_BOX, _CLASS, _BINS = 7.5, 0.5, 1.5


@dataclass(frozen=True)
class Assignment:
    """``m`` cells that answer for a box: indices int64 ``[m]``, and what they should say.

    ``box`` is the row of the targets, ``score`` in 0..1 what the box's class should be there.
    """

    image: Tensor
    place: Tensor
    box: Tensor
    score: Tensor


@torch.no_grad()
def assign(targets: Tensor, scores: Tensor, boxes: Tensor, places: Places) -> Assignment:
    """Choose the cells that answer for the boxes of a batch.

    Of the cells whose centre is in a box, the ten whose answers align best with it; a cell that
    several boxes want goes to the one that it overlaps most. A box narrower than the finest stride
    counts as that wide here, so that it has a cell.

    Args:
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        scores: ``[N, P, classes]`` in 0..1, as the network answers.
        boxes: ``[N, P, 4]``, likewise, x1, y1, x2, y2 in input pixels.
        places: the ``P`` cells.
    """
    middle = (targets[:, 1:3] + targets[:, 3:5]) / 2
    reach = ((targets[:, 3:5] - targets[:, 1:3]) / 2).clamp(min=float(places.strides.min()) / 2)
    inside = (places.centres[None] - middle[:, None]).abs() < reach[:, None]
    box, place = torch.nonzero(inside.all(2), as_tuple=True)
    image, classes = targets[box, 0].long(), targets[box, 5].long()
    overlap = elementwise_iou(boxes[image, place], targets[box, 1:5])
    aligned = scores[image, place, classes] ** _SCORE_EXPONENT * overlap**_IOU_EXPONENT

    # The best candidates of each box: those at or above its last one's alignment.
    table = aligned.new_full((len(targets), len(places.strides)), -1.0)
    table[box, place] = aligned
    count = min(_CANDIDATES, table.shape[1])
    last = table.topk(count, 1).values[:, -1] if len(targets) else table.new_zeros(0)
    chosen = aligned >= last[box]

    image, place, box = image[chosen], place[chosen], box[chosen]
    aligned, overlap = aligned[chosen], overlap[chosen]

    cell = image * len(places.strides) + place
    kept = owns_cell(cell, box, overlap, len(scores) * len(places.strides))
    image, place, box = image[kept], place[kept], box[kept]
    aligned, overlap = aligned[kept], overlap[kept]
    # A box's best cell is taught the overlap that it reached, the others in proportion.
    highest, widest = (
        value.new_zeros(len(targets)).scatter_reduce_(0, box, value, "amax")
        for value in (aligned, overlap)
    )
    score = aligned * widest[box] / highest[box].clamp(min=1e-9)
    return Assignment(image, place, box, score)


def decode_sides(logits: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Boxes x1, y1, x2, y2 in input pixels from the bins of four sides, ``[..., P, 4, bins]``."""
    bins = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    sides = (logits.softmax(-1) @ bins) * strides[:, None]
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], -1)


def bin_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy with the two bins around each distance, by nearness; the mean of four sides.

    Args:
        logits: ``[m, 4, bins]``.
        wanted: distances ``[m, 4]`` in cells; those beyond the last bin are taken as just short
            of it.
    """
    wanted = wanted.clamp(0, logits.shape[2] - 1.01)
    low = wanted.floor().long()
    share = wanted - low
    chances = log_softmax(logits, 2)
    near = chances.gather(2, low[..., None])[..., 0] * (1 - share)
    far = chances.gather(2, low[..., None] + 1)[..., 0] * share
    return -(near + far).mean(1)


@dataclass(frozen=True)
class LossParts:
    """Unweighted sums over the batch, each over the sum of the scores that cells are taught."""

    box: Tensor
    bins: Tensor
    classes: Tensor


def loss_parts(outputs: Sequence[Tensor], targets: Tensor, strides: Sequence[int]) -> LossParts:
    """Compare raw maps with boxes.

    Args:
        outputs: two maps a stride, ``[N, 4 * bins, h, w]`` and ``[N, classes, h, w]``.
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        strides: input pixels per cell.
    """
    places = Places.of(outputs[1::2], strides)
    raw = rows_of_maps(outputs[1::2])
    logits = rows_of_maps(outputs[::2]).unflatten(2, (4, -1))
    with torch.no_grad():
        boxes = decode_sides(logits, places.centres, places.strides)
        found = assign(targets, raw.sigmoid(), boxes, places)
    wanted = torch.zeros_like(raw)
    wanted[found.image, found.place, targets[found.box, 5].long()] = found.score
    total = found.score.sum().clamp(min=1.0)
    class_loss = bce(raw, wanted, reduction="sum") / total

    # Nothing was chosen in a batch without boxes: sums over no rows are zeros with a gradient.
    chosen = logits[found.image, found.place]
    centres, sizes = places.centres[found.place], places.strides[found.place]
    true = targets[found.box, 1:5]
    drawn = decode_sides(chosen, centres, sizes)
    distances = torch.cat([centres - true[:, :2], true[:, 2:] - centres], 1) / sizes[:, None]
    return LossParts(
        (box_loss(drawn, true) * found.score).sum() / total,
        (bin_loss(chosen, distances) * found.score).sum() / total,
        class_loss,
    )


def dfl_loss(outputs: Sequence[Tensor], targets: Tensor, strides: Sequence[int]) -> Tensor:
    """One figure from :func:`loss_parts`, in the published proportions."""
    parts = loss_parts(outputs, targets, strides)
    return _BOX * parts.box + _BINS * parts.bins + _CLASS * parts.classes
