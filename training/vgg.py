"""Train a VGG on small images: ``edgeark train vgg_s``, ``edgeark train vgg_kpu``.

Mirroring, shifting by some pixels and blanking a square are what 32x32 photographs need
(DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .classification import train_classifier
from .config import AugmentConfig, Recipe
from .data.augment import random_crop, random_erase, random_flip
from .loop import Outcome


def augment(images: Tensor, config: AugmentConfig) -> Tensor:
    """Shift, mirror and partly blank every image."""
    moved = random_flip(random_crop(images.float(), config.crop_padding), config.hflip)
    return random_erase(moved, config.erase)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.classification.train_classifier`."""
    return train_classifier(recipe, out, augment, **options)
