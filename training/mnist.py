"""Train a digit network: ``edgeark train mnist``, or ``python -m edgeark.training.mnist``.

Affine distortion stands in for the variety of hands that wrote the test digits; it is worth more
than any change to these small networks (Simard et al., "Best practices for convolutional neural
networks applied to visual document analysis", 2003).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from ..zoo.registry import ModelSpec, create_model, spec_of
from .config import Recipe
from .data import ImageSet, load_images
from .data.augment import random_affine
from .loop import Batch, FitResult, fit
from .progress import Progress


class DigitTask:
    """Classification of small pictures that are held in memory."""

    metric = "top1"

    def __init__(self, recipe: Recipe, spec: ModelSpec, train: ImageSet, val: ImageSet) -> None:
        self.recipe, self.train, self.val = recipe, train, val
        self.normalize = make_normalize(spec)

    def train_batches(self) -> DataLoader:
        return DataLoader(
            self.train,
            self.recipe.batch_size,
            shuffle=True,
            drop_last=True,
            collate_fn=_as_is,
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images, labels = batch
        images = random_affine(images.float(), **self.recipe.augment.model_dump())
        logits = model(self.normalize(images)).flatten(1)
        return cross_entropy(logits, labels, label_smoothing=self.recipe.optim.label_smoothing)

    def evaluate(self, model: nn.Module, device: torch.device) -> float:
        return evaluate(model, self.val, self.normalize, device)


def make_normalize(spec: ModelSpec) -> Callable[[Tensor], Tensor]:
    """``(pixel - mean) / std`` in torch, with the spec's figures."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    return lambda images: (images.float() - mean.to(images.device)) / std.to(images.device)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    images: ImageSet,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
) -> float:
    """Share of pictures whose highest logit is the label's, in 0..1."""
    model = model.to(device).eval()
    classes = int(model(normalize(torch.from_numpy(images.images[:1]).to(device))).numel())
    accuracy = MulticlassAccuracy(classes, average="micro").to(device)
    for pictures, labels in DataLoader(images, 500, collate_fn=_as_is):
        logits = model(normalize(pictures.to(device))).flatten(1)
        accuracy.update(logits, labels.to(device))
    return accuracy.compute().item()


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[FitResult, float, int]:
    """Run ``recipe``; returns how it ended, and the best weights' top-1 on the n test pictures."""
    everything = load_images(recipe.dataset, "train", data)
    held_out = recipe.val_size or len(everything) // 12
    train_set, val_set = everything.split_off(held_out)
    test_set = load_images(recipe.dataset, "test", data)

    torch.manual_seed(recipe.seed)
    model = create_model(recipe.model, spec={"dataset": recipe.dataset}, **recipe.model_args)
    task = DigitTask(recipe, spec_of(model), train_set, val_set)
    result = fit(model, task, recipe, out, resume=resume, progress=progress)
    if result.interrupted:
        return result, float("nan"), 0
    best = create_model(recipe.model, weights=result.weights)
    return result, evaluate(best, test_set, task.normalize), len(test_set)


def _as_is(batch: Any) -> Any:
    """The data set hands out whole batches already."""
    return batch
