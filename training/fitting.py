"""A recipe fitted to the data and the machine: steps decide, not epochs.

The recipes that ship state epochs for their own data set. On a folder of a few hundred images the
same number of epochs is a handful of optimizer steps, in which batch normalization, the EMA and the
learning rate get nowhere.
"""

from __future__ import annotations

import logging
import math
import platform

import torch

from .config import Recipe
from .data.formats import find_format

logger = logging.getLogger(__name__)

_SMALL_BATCH = 16  # with few images; smaller ones make batch normalization noisy
_STEPS_AN_EPOCH = 16  # wanted at the least, as long as batches stay large enough
_EPOCHS = 30  # at the least, of a large set
_FULL_STRENGTH = 2000  # steps from which on a recipe's distortions are as strong as it says
_DISTORTIONS = ("degrees", "translate", "scale", "shear", "erase", "color_jitter", "gamma")


def fit_to_data(recipe: Recipe, count: int) -> Recipe:
    """The recipe for ``count`` training images of one's own.

    Batches get smaller until an epoch has ``_STEPS_AN_EPOCH`` of them, the learning rate with them
    (linearly for SGD, by the square root for AdamW: Goyal et al. 2017, Malladi et al. 2022). Epochs
    follow from ``min_steps``; warm-up and the phases of augmentation keep their share of them. Few
    steps get milder distortions: there is no time to learn what strong ones ask.
    A public data set, or ``min_steps = 0``, leaves the recipe as it is but for a batch that is
    larger than the data.
    """
    batch = recipe.batch_size
    if not find_format(recipe.dataset).is_own or not recipe.min_steps:
        return recipe.model_copy(update={"batch_size": min(batch, max(2, count))})
    while batch > _SMALL_BATCH and count // batch < _STEPS_AN_EPOCH:
        batch = max(_SMALL_BATCH, batch // 2)
    batch = min(batch, max(2, count))
    steps = max(1, count // batch)
    epochs = max(min(recipe.epochs, _EPOCHS), math.ceil(recipe.min_steps / steps))
    ratio = batch / recipe.batch_size
    share = epochs / recipe.epochs
    scale = ratio if recipe.optim.name == "sgd" else ratio**0.5
    optim = recipe.optim.model_copy(
        update={"lr": recipe.optim.lr * scale, "warmup_epochs": recipe.optim.warmup_epochs * share}
    )
    strength = min(1.0, epochs * steps / _FULL_STRENGTH)
    phases = ("close_mosaic", "progressive_resize_epochs")
    augment = recipe.augment.model_copy(
        update={
            **{key: round(getattr(recipe.augment, key) * share) for key in phases},
            **{key: getattr(recipe.augment, key) * strength for key in _DISTORTIONS},
        }
    )
    logger.info(
        "%d training images: %d epochs of %d steps of %d images", count, epochs, steps, batch
    )
    return recipe.model_copy(
        update={"batch_size": batch, "epochs": epochs, "optim": optim, "augment": augment}
    )


def supported_precision(recipe: Recipe, accelerator: str) -> str:
    """The recipe's precision, or float32 where bfloat16 is emulated and ten times slower."""
    if recipe.precision != "bf16-mixed":
        return recipe.precision
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        supported = False
    else:
        supported = cpu_has_bfloat16()
    if not supported:
        logger.info("training in float32: there is no bfloat16 arithmetic here")
    return recipe.precision if supported else "32-true"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX512-BF16 or AMX; on ARM oneDNN's word)."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
