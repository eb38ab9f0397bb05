"""Train a YOLOv5 on images with boxes: ``edgeark train yolov5n_bccd``.

Mosaics of four images, scaled and shifted, make many images of few; the last epochs are
without them. What a cell should say is in :mod:`edgeark.training.yolo_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..zoo.spec import ModelSpec
from .config import Recipe
from .detection import train_detector
from .loop import Outcome
from .yolo_loss import yolo_loss


def loss(outputs: Sequence[Tensor], targets: Tensor, spec: ModelSpec) -> Tensor:
    """The loss of a batch, with the anchors and strides of the network's spec."""
    anchors = torch.tensor(spec.anchors, device=targets.device)
    return yolo_loss(outputs, targets, anchors, spec.strides, spec.input_size)


def train(recipe: Recipe, out: Path, **options: Any) -> Outcome:
    """Run ``recipe``; see :func:`edgeark.training.detection.train_detector`."""
    return train_detector(recipe, out, loss, **options)
