"""Train a digit network: ``edgeark train mnist``, ``edgeark train mnist_kpu``.

Affine distortion stands in for the variety of hands that wrote the test digits; it is worth more
than any change to these small networks (Simard et al., "Best practices for convolutional neural
networks applied to visual document analysis", 2003).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .classification import train_classifier
from .config import AugmentConfig, Recipe
from .data.augment import random_affine
from .loop import Outcome


def augment(images: Tensor, config: AugmentConfig) -> Tensor:
    """Rotate, shift, scale and shear every digit."""
    return random_affine(images.float(), **config.affine())


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.classification.train_classifier`."""
    return train_classifier(recipe, out, augment, **options)
