"""What every training of a detector shares: batches with boxes, metric, and the order of things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..zoo.registry import ModelSpec, create_model, model_entry
from .anchors import choose_anchors
from .classification import identity_collate, make_normalize
from .config import Recipe
from .data import ImageSet
from .data.augment import color_jitter
from .data.mosaic import AugmentedImages
from .data.store import Array, chunks
from .distributed import is_first_process
from .fitting import fit_to_data
from .logs import DEFAULT_LOGS
from .loop import Batch, Outcome, Task, fit
from .metrics import find_boxes, mean_average_precision, true_boxes
from .network import start_network
from .parts import load_parts
from .plots import save_detections, spread
from .progress import Progress
from .verdicts import judge_detector

# From raw maps, targets [n, 6] (image, x1, y1, x2, y2 in input pixels, class) and the spec.
BoxLoss = Callable[[Sequence[Tensor], Tensor, ModelSpec], Tensor]

_QUICK_THRESHOLD = 0.01  # for the epochs' figures: a trained network has fewer candidates above it
_BATCH = 16  # images that are evaluated at once


class DetectionTask(Task):
    """Detection in images that are held in memory."""

    metric = "map50"

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, train: ImageSet, val: ImageSet, box_loss: BoxLoss
    ) -> None:
        self.recipe, self.spec, self.train, self.val = recipe, spec, train, val
        self.box_loss = box_loss
        self.normalize = make_normalize(spec)

    def train_batches(self, batch_size: int, epoch: int) -> DataLoader:
        """Mosaics until the last epochs, which show images as they are used (Ge et al. 2021)."""
        config = self.recipe.augment
        plain = epoch >= self.recipe.epochs - config.close_mosaic
        pictures = AugmentedImages(self.train, config, 0.0 if plain else config.mosaic)
        return DataLoader(
            pictures, batch_size, shuffle=True, drop_last=True, collate_fn=identity_collate
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images, targets = batch
        lit = color_jitter(images.float(), self.recipe.augment.color_jitter)
        return self.box_loss(model(self.normalize(lit)), targets, self.spec)

    def evaluate(self, model: nn.Module, device: torch.device) -> float:
        outputs = predict(model, self.val.images, self.normalize, device)
        figures = mean_average_precision(self.spec, outputs, self.val.labels, _QUICK_THRESHOLD)
        return figures[self.metric]


def train_detector(
    recipe: Recipe,
    out: Path,
    box_loss: BoxLoss,
    *,
    data: Path | None = None,
    weights: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    log: Sequence[str] = DEFAULT_LOGS,
) -> Outcome:
    """Run ``recipe``; the outcome's test is the best weights' mAP at an overlap of 0.5.

    The data set's own validation part chooses the best epoch; with ``val_size``, or where there is
    none, a part of the training images. Anchors that leave out boxes are replaced by fitted ones;
    the weights' spec says which.
    """
    parts = load_parts(recipe, data, share=8)
    train_set, test_set = parts.train, parts.test
    recipe = fit_to_data(recipe, len(train_set))

    torch.manual_seed(recipe.seed)
    family = model_entry(recipe.model).spec
    facts = {"dataset": recipe.dataset, "classes": train_set.classes}
    if family.anchors and weights is None:
        facts["anchors"] = choose_anchors(train_set.labels, family.anchors)
    model, spec, transfer = start_network(recipe, facts, weights)
    task = DetectionTask(recipe, spec, train_set, parts.val, box_loss)
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
    outputs = predict(best, test_set.images, task.normalize, "cpu")
    show_detections(task.spec, outputs, test_set, out / "predictions.png")
    details = mean_average_precision(task.spec, outputs, test_set.labels)
    verdicts = judge_detector(details[task.metric], test_set)
    test = details.pop(task.metric)
    return Outcome(result, task.metric, test, len(test_set), details, verdicts, transfer)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Array,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str,
) -> list[np.ndarray]:
    """Raw maps of images uint8 ``[N, C, H, W]``, in batches."""
    model = model.to(device).eval()
    batches = map(torch.from_numpy, chunks(images, _BATCH))
    answers = [model(normalize(batch.to(device))) for batch in batches]
    return [torch.cat(maps).float().cpu().numpy() for maps in zip(*answers, strict=True)]


def show_detections(
    spec: ModelSpec, outputs: Sequence[np.ndarray], images: ImageSet, path: Path
) -> None:
    """Draw some images with their true boxes and with those that were found."""
    shown = spread(len(images))
    found = find_boxes(spec, [output[shown] for output in outputs])
    wanted = [true_boxes(images.labels[index]) for index in shown]
    save_detections(images.images[shown], spec.color, wanted, found, path)
