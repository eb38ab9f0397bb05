"""Losses that torch does not bring."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ..zoo.tasks.segmentation import IGNORE


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of every pixel plus soft Dice: the one is steady, the other is the metric.

    Args:
        logits: ``[N, classes, h, w]``; one class is a sigmoid's.
        masks: uint8 ``[N, h, w]``: 0 and 1, or indices of classes; ``IGNORE`` counts nowhere.
    """
    logits, masks = logits.float(), masks.long()
    counted = (masks != IGNORE)[:, None].float()
    known = masks * counted[:, 0].long()
    if logits.shape[1] == 1:
        wanted = known[:, None].float()
        each = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        pixels = (each * counted).sum() / counted.sum().clamp(min=1)
        return pixels + soft_dice_loss(logits.sigmoid() * counted, wanted)
    wanted = one_hot(known, logits.shape[1]).movedim(-1, 1).float() * counted
    each = cross_entropy(logits, known, reduction="none")[:, None]
    pixels = (each * counted).sum() / counted.sum().clamp(min=1)
    return pixels + soft_dice_loss((logits.softmax(dim=1) * counted)[:, 1:], wanted[:, 1:])


def soft_dice_loss(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """1 - Dice with probabilities for pixels (Milletari et al., "V-Net", 2016); 0..1.

    The mean over the images and classes that are there: for a class that is not, Dice has no
    slope worth following, and cross-entropy says all. 0 where none is there.

    Args:
        probabilities: ``[N, K, h, w]``.
        wanted: 0 and 1, of the same shape.
    """
    both = (probabilities * wanted).sum(dim=(2, 3))
    areas = wanted.sum(dim=(2, 3))
    scores = 2 * both / (probabilities.sum(dim=(2, 3)) + areas).clamp(min=1e-6)
    there = (areas > 0).float()
    return ((1 - scores) * there).sum() / torch.clamp(there.sum(), min=1)
