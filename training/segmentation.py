"""What every training of masks shares: balanced batches, loss, metric, and the order of things."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d
from torch.utils.data import DataLoader, RandomSampler, Sampler, WeightedRandomSampler

from ..errors import DataError
from ..zoo.registry import ModelSpec, create_model
from ..zoo.tasks.segmentation import IGNORE, to_mask
from .classification import answer_batches, identity_collate, make_normalize
from .config import AugmentConfig, Recipe
from .data import ImageSet
from .data.store import Array, chunks
from .distributed import is_first_process
from .fitting import fit_to_data
from .logs import DEFAULT_LOGS
from .loop import Batch, Outcome, Task, fit
from .losses import mask_loss
from .metrics import mask_figures
from .network import start_network
from .parts import load_parts
from .plots import save_predictions
from .progress import Progress
from .rounding import finish_whitened
from .verdicts import judge_count
from .whitening import start_whitened

# Images uint8 and masks uint8 in; images float in 0..255 and masks uint8 out.
Augment = Callable[[Tensor, Tensor, AugmentConfig], tuple[Tensor, Tensor]]

_MARKED_SHARE = 0.5
_EVAL_BATCH = 16
_SHOWN = 8


class SegmentationTask(Task):
    """Segmentation of images that are held in memory.

    At least half of what is drawn are images with something in their mask: where most are clean,
    a network that finds nothing would be nearly right.

    The recipe's first ``progressive_resize_epochs`` are trained on images of half the size, a
    quarter of the work, in which the larger marks are learnt (Howard's "progressive resizing",
    fast.ai, 2018).
    """

    metric = "dice"

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, train: ImageSet, val: ImageSet, augment: Augment
    ) -> None:
        self.recipe, self.train, self.val, self.augment = recipe, train, val, augment
        self.normalize, self.is_small = make_normalize(spec), False
        self.is_marked = foreground_shares(train.labels)[0]

    def train_batches(self, batch_size: int, epoch: int) -> DataLoader:
        self.is_small = epoch < self.recipe.augment.progressive_resize_epochs
        sampler = balanced_sampler(self.is_marked)
        return DataLoader(
            self.train, batch_size, sampler=sampler, drop_last=True, collate_fn=identity_collate
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images, masks = self.augment(*batch, self.recipe.augment)
        if self.is_small:
            images, masks = halve(images, masks)
        return mask_loss(model(self.normalize(images)), masks)

    def evaluate(self, model: nn.Module, device: torch.device) -> float:
        found = find_masks(model, self.val, self.normalize, device)
        return mask_figures(found, self.val)[self.metric]


def halve(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Images of half the size, and masks that hold the largest class of four pixels.

    A mark that is one pixel wide stays so.
    """
    masks = max_pool2d(masks[:, None].float(), 2)[:, 0].to(masks.dtype)
    return avg_pool2d(images, 2), masks


def train_segmenter(
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
    """Run ``recipe``; the outcome's test is the best weights' mean Dice over marked test images.

    Details are Dice by category and the share of clean images in which something was found.

    Raises:
        DataError: nothing is marked in one of the parts.
    """
    parts = load_parts(recipe, data, share=8)
    train_set, test_set = parts.train, parts.test
    for part, images in (("training", train_set), ("validation", parts.val), ("test", test_set)):
        _require_marks(images, part)
    recipe = fit_to_data(recipe, len(train_set))

    torch.manual_seed(recipe.seed)
    facts = {"dataset": recipe.dataset, "classes": train_set.classes}
    model, spec, transfer = start_network(recipe, facts, weights)
    task = SegmentationTask(recipe, spec, train_set, parts.val, augment)
    if weights is None:
        init_foreground_prior(model, train_set.labels)
        if recipe.whiten and transfer is None:
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
    found = find_masks(best, test_set, task.normalize)
    show_predictions(found, test_set, out / "predictions.png")
    details = mask_figures(found, test_set)
    test = details.pop(task.metric)
    count = int(foreground_shares(test_set.labels)[0].sum())
    verdicts = judge_count(count, "marked test images")
    return Outcome(result, task.metric, test, count, details, verdicts, transfer)


@torch.no_grad()
def init_foreground_prior(model: nn.Module, masks: Array) -> None:
    """Let a network of one class begin with the odds that a pixel of a training batch is marked.

    From one half everywhere, a rare mark's training begins with thousands of steps that only lower
    the last bias. RetinaNet (Lin et al., 2017) has the idea.

    Args:
        model: its last convolution makes the logits.
        masks: those of the training images, uint8 ``[N, h, w]``.
    """
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]
    if last.out_channels > 1 or last.bias is None:
        return
    is_marked, shares = foreground_shares(masks)
    drawn = max(_MARKED_SHARE, float(is_marked.mean()))
    share = drawn * float(shares[is_marked].mean())
    last.bias.fill_(math.log(share / (1 - share)))


def foreground_shares(masks: Array) -> tuple[np.ndarray, np.ndarray]:
    """Which masks ``[N, h, w]`` have a foreground, bool ``[N]``, and its share of their pixels."""
    blocks = [((b != 0) & (b != IGNORE)).mean(axis=(1, 2)) for b in chunks(masks)]
    shares = np.concatenate(blocks)
    return shares > 0, shares


def balanced_sampler(foreground: np.ndarray) -> Sampler[int]:
    """Draws as many images as there are, at least half of them marked, so some twice.

    Its own generator is seeded from torch's: processes that were seeded alike draw alike, and each
    takes its share of one and the same draw.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    count, share = len(foreground), float(foreground.mean())
    if share >= _MARKED_SHARE:
        return RandomSampler(foreground, generator=generator)
    weights = np.where(foreground, _MARKED_SHARE / share, (1 - _MARKED_SHARE) / (1 - share))
    return WeightedRandomSampler(weights.tolist(), count, generator=generator)


def find_masks(
    model: nn.Module,
    images: ImageSet,
    normalize: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The network's masks, uint8 ``[N, h, w]``."""
    batches = answer_batches(model, images, normalize, device, _EVAL_BATCH)
    return np.concatenate([to_mask(output) for output in batches])


def show_predictions(found: np.ndarray, images: ImageSet, path: Path) -> None:
    """Draw some images with both masks: of every group in turn, a quarter of them clean."""
    foreground = foreground_shares(images.labels)[0]
    groups = np.full(len(images), "") if images.groups is None else images.groups
    clean = _in_turn(np.flatnonzero(~foreground), groups)[: _SHOWN // 4]
    shown = [*_in_turn(np.flatnonzero(foreground), groups)[: _SHOWN - len(clean)], *clean]
    titles = [str(groups[i]) for i in shown]
    save_predictions(images.images[shown], images.labels[shown], found[shown], titles, path)


def _in_turn(indices: np.ndarray, groups: np.ndarray) -> list[int]:
    """The first of every group, then the second of every group, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for index in indices.tolist():
        group = str(groups[index])
        turns.append((seen[group], group, index))
        seen[group] += 1
    return [index for _, _, index in sorted(turns)]


def _require_marks(images: ImageSet, part: str) -> None:
    if not foreground_shares(images.labels)[0].any():
        raise DataError(f"{images.name}: nothing is marked in the {len(images)} {part} images")
