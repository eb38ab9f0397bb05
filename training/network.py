"""The network that a training begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..zoo.registry import create_model
from ..zoo.spec import ModelSpec, spec_of
from .config import Recipe, RecipeError
from .qat import SCHEMES, RoundedNetwork


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
