"""Train a UNet on images with masks: ``edgeark train unet_16``, ``edgeark train unet_8``.

A part on a belt has no up and no left, and the light differs from day to day: every mirror image
and turn is an image that could have been taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..zoo.tasks.segmentation import IGNORE
from .config import AugmentConfig, Recipe
from .data.augment import (
    color_jitter,
    copy_paste,
    random_affine,
    random_flip,
    random_gamma,
    random_rot90,
)
from .loop import Outcome
from .segmentation import train_segmenter


def augment(images: Tensor, masks: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Relight every image; mirror, turn and distort it, and its mask in the same way.

    The mask travels as further channels, one a class, so that one draw moves both.
    """
    pasted, masks = copy_paste(images.float(), masks, config.copy_paste)
    lit = random_gamma(color_jitter(pasted, config.color_jitter), config.gamma)
    void = (masks == IGNORE)[:, None].float()
    layers = one_hot(masks.long() * (masks != IGNORE)).movedim(-1, 1).float() * (1 - void)
    layers = torch.cat([layers, void], dim=1)
    moved = random_flip(torch.cat([lit, layers], dim=1), config.hflip)
    moved = random_rot90(random_flip(moved, config.vflip, dim=2), config.rot90)
    moved = random_affine(moved, **config.affine(), outside="reflection")
    pictures, layers = moved.split([images.shape[1], layers.shape[1]], dim=1)
    found = layers.argmax(dim=1)
    return pictures, found.where(found < layers.shape[1] - 1, IGNORE).to(torch.uint8)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.segmentation.train_segmenter`."""
    return train_segmenter(recipe, out, augment, **options)
