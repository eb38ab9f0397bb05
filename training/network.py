"""The network that a training begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ..zoo.layers import ConvBnAct
from ..zoo.registry import ModelSpec, create_model, spec_of
from .config import Recipe, RecipeError
from .qat import SCHEMES, RoundedNetwork

_WHITENED = 4_000_000  # pixels whose neighbourhoods say what is white


def start_network(
    recipe: Recipe, facts: Mapping[str, Any], weights: Path | None
) -> tuple[nn.Module, ModelSpec]:
    """A fresh network, or one with ``weights``; for quantisation-aware training under rounding.

    Args:
        recipe: names the network and its arguments.
        facts: of its spec: the data set and its classes.
        weights: a safetensors file to begin with.

    Raises:
        RecipeError: there is nothing to fine-tune.
        WeightsError: the weights are of another network.
    """
    scheme = recipe.qat.scheme
    if scheme and weights is None:
        raise RecipeError(f"--qat {scheme} fine-tunes trained weights: name them with --weights")
    model = create_model(recipe.model, weights=weights, spec=facts, **recipe.model_args)
    spec = spec_of(model)
    return (RoundedNetwork(model, SCHEMES[scheme]) if scheme else model), spec


@torch.no_grad()
def start_whitened(
    model: nn.Module, images: np.ndarray, normalize: Callable[[Tensor], Tensor]
) -> None:
    """Let a fresh network begin with decorrelated colours and edges, and pass them on unmixed.

    The filters of the first convolution become the principal components of the pictures' patches,
    the strongest first, each beside its negative, which the activation would cut off; the batch
    normalisation behind it gives all of them one variance. Of every further convolution of an odd
    size, the first filters begin as identities. Both spare a short training its first epochs
    (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024; the whitening is Page's, 2018).

    Args:
        model: with :class:`ConvBnAct` blocks; what is no such block, or has groups, stays.
        images: training pictures, uint8 ``[N, C, H, W]``.
        normalize: brings them to what the network takes.

    Raises:
        RecipeError: a model without such a block.
    """
    count = max(1, _WHITENED // images[0, 0].size)
    found = (m.conv for m in model.modules() if isinstance(m, ConvBnAct))
    convolutions = [conv for conv in found if conv.groups == 1]
    if not convolutions:
        raise RecipeError("whiten is for networks of ConvBnAct blocks; this one has none")
    first, *further = convolutions
    some = normalize(torch.from_numpy(images[:: -(-len(images) // count)]))
    patches = unfold(some, first.kernel_size).movedim(1, -1).flatten(0, 1)
    components = torch.linalg.eigh(patches.T.cov())[1].T.flip(0)
    pairs = torch.stack([components, -components], dim=1).flatten(0, 1)
    filters = pairs[: first.out_channels].view(-1, *first.weight.shape[1:])
    first.weight[: len(filters)] = filters
    for conv in further:
        if all(side % 2 for side in conv.kernel_size):
            nn.init.dirac_(conv.weight[: conv.in_channels])
