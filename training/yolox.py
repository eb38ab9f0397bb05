"""Train a YOLOX on images with boxes: ``edgeark train yolox_nano_bccd``.

Mosaics of four images, scaled and shifted, make many images of few; the last epochs are
without them. What a cell should say is in :mod:`edgeark.training.yolox_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..zoo.spec import ModelSpec
from .config import Recipe
from .detection import train_detector
from .loop import Outcome
from .yolox_loss import yolox_loss


def loss(outputs: Sequence[Tensor], targets: Tensor, spec: ModelSpec) -> Tensor:
    """The loss of a batch, with the strides of the network's spec."""
    return yolox_loss(outputs, targets, spec.strides)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.detection.train_detector`."""
    return train_detector(recipe, out, loss, **options)
