"""The loss of YOLOX: which cells answer for a box, and what they should say.

Written from the papers: Ge et al., "YOLOX" (arXiv 2107.08430) and "OTA: optimal transport
assignment" (arXiv 2103.14259). Cells are chosen by SimOTA: of the cells around a box's centre those
whose answers cost least, and the more of them the better the box is drawn already. The chosen
ones are taught box, object and class, all others that there is no object. Objectness and classes
are independent (binary cross-entropy); the class is taught the overlap that is reached (Li et al.,
"Generalized focal loss", arXiv 2006.04388). Boxes are drawn by complete IoU (Zheng et al., 2019),
where the paper has plain IoU: an untrained network's boxes often miss the true one, and plain IoU
has no gradient there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import logsigmoid, one_hot

from .cells import Places, box_loss, elementwise_iou, owns_cell, rows_of_maps

_CENTRE_RADIUS = 2.5  # strides around a box's centre: 5 by 5 cells of each map (OTA)
_OVERLAPS = 10  # the best ones, whose sum is how many cells answer for a box (OTA)
_IOU_COST = 3.0  # of -ln IoU, where the class' cost counts once (YOLOX)
_BOX = 5.0
_MAX_EXPONENT = 20.0  # as in decoding: exp(20) is wider than any image


@dataclass(frozen=True)
class Assignment:
    """``m`` cells that answer for a box: int64 ``[m]`` but ``overlap``.

    ``box`` is the row of the targets, ``overlap`` in 0..1 the IoU of the answer with that box.
    """

    image: Tensor
    place: Tensor
    box: Tensor
    overlap: Tensor


@torch.no_grad()
def assign(
    targets: Tensor, boxes: Tensor, objectness: Tensor, classes: Tensor, places: Places
) -> Assignment:
    """Choose the cells that answer for the boxes of a batch: SimOTA.

    Candidates are the cells within 2.5 strides of a box's centre, along x and along y, on every
    map. A candidate costs the binary cross-entropy of its class scores (the root of objectness
    times class) and three times ``-ln IoU``. The sum of a box's ten highest overlaps, rounded down
    and at least 1, is how many candidates it gets: the cheapest. A cell that several boxes get goes
    to the one where it costs least.

    Args:
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        boxes: ``[N, P, 4]``, as the network answers: x1, y1, x2, y2 in input pixels.
        objectness: logits ``[N, P, 1]``, likewise.
        classes: logits ``[N, P, classes]``, likewise.
        places: the ``P`` cells.
    """
    middle = (targets[:, 1:3] + targets[:, 3:5]) / 2
    reach = _CENTRE_RADIUS * places.strides
    near = (places.centres[None] - middle[:, None]).abs() < reach[None, :, None]
    box, place = torch.nonzero(near.all(2), as_tuple=True)
    image = targets[box, 0].long()
    overlap = elementwise_iou(boxes[image, place], targets[box, 1:5])
    cost = _class_cost(objectness[image, place], classes[image, place], targets[box, 5].long())
    cost = cost - _IOU_COST * overlap.clamp(min=1e-8).log()

    shape = len(targets), len(places.strides)
    many = min(_OVERLAPS, shape[1])
    overlaps, costs = overlap.new_zeros(shape), cost.new_full(shape, torch.inf)
    overlaps[box, place], costs[box, place] = overlap, cost
    wanted = overlaps.topk(many, 1).values.sum(1).int().clamp(min=1)
    cheapest, place = costs.topk(many, 1, largest=False)
    rank = torch.arange(many, device=cost.device)
    box, rank = torch.nonzero((rank < wanted[:, None]) & cheapest.isfinite(), as_tuple=True)
    place, image = place[box, rank], targets[box, 0].long()

    cell = image * shape[1] + place
    kept = owns_cell(cell, box, -cheapest[box, rank], len(boxes) * shape[1])
    image, place, box = image[kept], place[kept], box[kept]
    return Assignment(image, place, box, overlaps[box, place])


def _class_cost(objectness: Tensor, classes: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of ``sqrt(objectness * class)`` with the true class, summed: ``[m]``."""
    log_score = (logsigmoid(objectness) + logsigmoid(classes)) / 2  # [m, classes]
    log_other = torch.log1p(-log_score.exp().clamp(max=1 - 1e-6))
    right = one_hot(true, classes.shape[1]).bool()
    return -torch.where(right, log_score, log_other).sum(1)


def decode_boxes(raw: Tensor, places: Places) -> Tensor:
    """Boxes x1, y1, x2, y2 in input pixels from the raw x, y, w, h of all cells, ``[N, P, 4]``.

    ``xy = (raw + cell) * stride``, ``wh = exp(raw) * stride``; a cell is named by its upper left
    corner.
    """
    strides = places.strides[:, None]
    centre = (raw[..., :2] - 0.5) * strides + places.centres
    half = raw[..., 2:].clamp(max=_MAX_EXPONENT).exp() * strides / 2
    return torch.cat([centre - half, centre + half], -1)


@dataclass(frozen=True)
class LossParts:
    """Unweighted sums over the batch, each over the number of cells that answer for a box."""

    box: Tensor
    objectness: Tensor
    classes: Tensor


def loss_parts(outputs: Sequence[Tensor], targets: Tensor, strides: Sequence[int]) -> LossParts:
    """Compare raw maps with boxes.

    Args:
        outputs: three maps a stride: ``[N, 4, h, w]``, ``[N, 1, h, w]``, ``[N, classes, h, w]``.
        targets: float ``[n, 6]``: image, x1, y1, x2, y2 in input pixels, class.
        strides: input pixels per cell.
    """
    places = Places.of(outputs[::3], strides)
    raw, objectness, classes = (rows_of_maps(outputs[start::3]) for start in range(3))
    boxes = decode_boxes(raw, places)
    found = assign(targets, boxes, objectness, classes, places)
    total = max(len(found.box), 1)
    wanted = torch.zeros_like(objectness)
    wanted[found.image, found.place] = 1.0
    right = one_hot(targets[found.box, 5].long(), classes.shape[2]) * found.overlap[:, None]
    # Nothing is chosen in a batch without boxes: sums over no rows are zeros with a gradient.
    drawn = boxes[found.image, found.place]
    return LossParts(
        box_loss(drawn, targets[found.box, 1:5]).sum() / total,
        bce(objectness, wanted, reduction="sum") / total,
        bce(classes[found.image, found.place], right, reduction="sum") / total,
    )


def yolox_loss(outputs: Sequence[Tensor], targets: Tensor, strides: Sequence[int]) -> Tensor:
    """One figure from :func:`loss_parts`, in the published proportions."""
    parts = loss_parts(outputs, targets, strides)
    return _BOX * parts.box + parts.objectness + parts.classes
