"""Train a MobileNet: ``edgeark train mobilenet_v1_025``.

Photographs of one's own are few and taken in one light; turning, scaling, mirroring and changing
brightness and colour make up for some of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .classification import train_classifier
from .config import AugmentConfig, Recipe
from .data.augment import color_jitter, random_affine, random_erase, random_flip
from .loop import Outcome


def augment(images: Tensor, config: AugmentConfig) -> Tensor:
    """Distort, mirror, relight and partly blank every image."""
    lit = color_jitter(images.float(), config.color_jitter)
    moved = random_flip(random_affine(lit, **config.affine()), config.hflip)
    return random_erase(moved, config.erase)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.classification.train_classifier`."""
    return train_classifier(recipe, out, augment, **options)
