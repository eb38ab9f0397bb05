"""What every training of a classifier shares: batches, loss, metric, and the order of things."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from ..zoo.registry import ModelSpec, create_model
from ..zoo.tasks import classification
from .config import AugmentConfig, Recipe
from .data import ImageSet
from .distributed import is_first_process
from .fitting import fit_to_data
from .logs import DEFAULT_LOGS
from .loop import Batch, Outcome, Task, fit
from .network import start_network
from .parts import load_parts
from .plots import save_confusion
from .progress import Progress
from .rounding import finish_whitened
from .verdicts import judge_classifier
from .whitening import start_whitened

_MOST_VALUES = 2**22  # of an evaluated batch: 27 images of 3x224x224
Augment = Callable[[Tensor, AugmentConfig], Tensor]  # uint8 images in, float ones in 0..255 out


class ClassificationTask(Task):
    """Classification of images that are held in memory."""

    metric = "top1"

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, train: ImageSet, val: ImageSet, augment: Augment
    ) -> None:
        self.recipe, self.train, self.val, self.augment = recipe, train, val, augment
        self.normalize = make_normalize(spec)

    def train_batches(self, batch_size: int, epoch: int) -> DataLoader:
        return DataLoader(
            self.train, batch_size, shuffle=True, drop_last=True, collate_fn=identity_collate
        )

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
    weights: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    log: Sequence[str] = DEFAULT_LOGS,
) -> Outcome:
    """Run ``recipe``; the outcome's test is the best weights' top-1 on the test images."""
    parts = load_parts(recipe, data, share=12)
    recipe = fit_to_data(recipe, len(parts.train))

    torch.manual_seed(recipe.seed)
    facts = {"dataset": recipe.dataset, "classes": parts.train.classes}
    model, spec, transfer = start_network(recipe, facts, weights)
    train_set, test_set = parts.train, parts.test
    task = ClassificationTask(recipe, spec, train_set, parts.val, augment)
    if recipe.whiten and weights is None and transfer is None:
        start_whitened(model, train_set.images, task.normalize)
    result = fit(
        model,
        task,
        recipe,
        out,
        resume=resume,
        progress=progress,
        accelerator=device,
        log=log,
    )
    if result.interrupted or not is_first_process():  # one process tests and draws
        return Outcome(result, task.metric)
    best = create_model(recipe.model, weights=result.weights)
    if recipe.whiten:
        finish_whitened(best, result.weights, train_set.images, task.normalize)
    logits = predict(best, test_set, task.normalize)
    test = classification.top1(logits, test_set.labels)
    counts = confusion(logits.argmax(axis=1), test_set.labels, len(train_set.classes))
    save_confusion(counts, train_set.classes, out / "confusion.png")
    verdicts = judge_classifier(test, test_set.labels, train_set.classes)
    return Outcome(result, task.metric, test, len(test_set), verdicts=verdicts, transfer=transfer)


def confusion(found: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How often images of a class (row) were taken for a class (column): ``[K, K]``."""
    pairs = np.bincount(labels * num_classes + found, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def make_normalize(spec: ModelSpec) -> Callable[[Tensor], Tensor]:
    """``(pixel - mean) / std`` in torch, with the spec's figures."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    return lambda images: (images.float() - mean.to(images.device)) / std.to(images.device)


def evaluate(
    model: nn.Module,
    images: ImageSet,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
) -> float:
    """Share of images whose highest logit is the label's, in 0..1."""
    return classification.top1(predict(model, images, normalize, device), images.labels)


def predict(
    model: nn.Module,
    images: ImageSet,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The logits of every image, ``[N, classes]``."""
    batches = answer_batches(model, images, normalize, device, batch_size=_evaluated(images))
    return np.concatenate([classification.flatten_logits(output) for output in batches])


def _evaluated(images: ImageSet) -> int:
    """Images in a batch that is evaluated: maps of a network are many times its input."""
    return max(1, min(500, _MOST_VALUES // math.prod(images.images.shape[1:])))


@torch.inference_mode()
def answer_batches(
    model: nn.Module,
    images: ImageSet,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str,
    batch_size: int,
) -> Iterator[np.ndarray]:
    """The model's raw output for one batch of images after another, in evaluation mode."""
    model = model.to(device).eval()
    for pictures, _ in DataLoader(images, batch_size, collate_fn=identity_collate):
        yield model(normalize(pictures.to(device))).float().cpu().numpy()


def identity_collate(batch: Any) -> Any:
    """For a :class:`DataLoader` whose data set hands out whole batches (``__getitems__``)."""
    return batch
