"""Train a YOLOv8 or a YOLO11 on images with boxes: ``edgeark train yolo11n_bccd``.

Mosaics of four images, scaled and shifted, make many images of few; the last epochs are
without them. What a cell should say is in :mod:`edgeark.training.dfl_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..zoo.spec import ModelSpec
from .config import Recipe
from .detection import train_detector
from .dfl_loss import dfl_loss
from .loop import Outcome


def loss(outputs: Sequence[Tensor], targets: Tensor, spec: ModelSpec) -> Tensor:
    """The loss of a batch, with the strides of the network's spec."""
    return dfl_loss(outputs, targets, spec.strides)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.detection.train_detector`."""
    return train_detector(recipe, out, loss, **options)
