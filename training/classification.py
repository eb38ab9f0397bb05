"""What every training of a classifier shares: batches, loss, metric, and the order of things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from ..zoo.registry import ModelSpec, create_model, model_entry, spec_of
from .config import AugmentConfig, Recipe
from .data import ImageSet, load_images
from .data.images import Shape
from .loop import Batch, FitResult, fit
from .progress import Progress

Augment = Callable[[Tensor, AugmentConfig], Tensor]  # uint8 pictures in, float ones in 0..255 out


class ClassificationTask:
    """Classification of pictures that are held in memory."""

    metric = "top1"

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, train: ImageSet, val: ImageSet, augment: Augment
    ) -> None:
        self.recipe, self.train, self.val, self.augment = recipe, train, val, augment
        self.normalize = make_normalize(spec)

    def train_batches(self, batch_size: int) -> DataLoader:
        return DataLoader(self.train, batch_size, shuffle=True, drop_last=True, collate_fn=as_is)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images, labels = batch
        logits = model(self.normalize(self.augment(images, self.recipe.augment))).flatten(1)
        return cross_entropy(logits, labels, label_smoothing=self.recipe.optim.label_smoothing)

    def evaluate(self, model: nn.Module, device: torch.device) -> float:
        return evaluate(model, self.val, self.normalize, device)


def train_classifier(
    recipe: Recipe,
    out: Path,
    augment: Augment,
    *,
    data: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[FitResult, float, int]:
    """Run ``recipe``; returns how it ended, and the best weights' top-1 on the n test pictures."""
    shape = input_shape(recipe)
    everything = load_images(recipe.dataset, "train", data, shape=shape)
    held_out = recipe.val_size or len(everything) // 12
    train_set, val_set = everything.split_off(held_out)
    test_set = load_images(recipe.dataset, "test", data, shape=shape)

    torch.manual_seed(recipe.seed)
    facts = {"dataset": recipe.dataset, "classes": everything.classes}
    model = create_model(recipe.model, spec=facts, **recipe.model_args)
    task = ClassificationTask(recipe, spec_of(model), train_set, val_set, augment)
    result = fit(model, task, recipe, out, resume=resume, progress=progress)
    if result.interrupted:
        return result, float("nan"), 0
    best = create_model(recipe.model, weights=result.weights)
    return result, evaluate(best, test_set, task.normalize), len(test_set)


def input_shape(recipe: Recipe) -> Shape:
    """``(channels, height, width)`` of the network that a recipe trains."""
    spec = model_entry(recipe.model).spec
    height, width = recipe.model_args.get("input_size", spec.input_size)
    return recipe.model_args.get("in_channels", spec.in_channels), height, width


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
    # Each process evaluates for itself: one that waited for the others' counts would wait forever.
    accuracy = MulticlassAccuracy(classes, average="micro", sync_on_compute=False).to(device)
    for pictures, labels in DataLoader(images, 500, collate_fn=as_is):
        logits = model(normalize(pictures.to(device))).flatten(1)
        accuracy.update(logits, labels.to(device))
    return accuracy.compute().item()


def as_is(batch: Any) -> Any:
    """The data set hands out whole batches already."""
    return batch
