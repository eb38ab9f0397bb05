"""The network that a training begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..core.catalog import packaged_weights
from ..zoo.importers import import_weights
from ..zoo.registry import create_model, list_models, transfer_features
from ..zoo.spec import ModelSpec, spec_of
from ..zoo.transfer import Transfer
from ..zoo.weights import WeightsError, read_state
from .config import Recipe, RecipeError
from .data.formats import find_format
from .qat import SCHEMES, RoundedNetwork

logger = logging.getLogger(__name__)


def start_network(
    recipe: Recipe, facts: Mapping[str, Any], weights: Path | None
) -> tuple[nn.Module, ModelSpec, Transfer | None]:
    """A fresh network, one with transferred features, or one with ``weights``.

    For quantization-aware training it computes as the target rounds.

    Args:
        recipe: names the network, its arguments, and what is transferred (``pretrained``).
        facts: of its spec: the data set and its classes.
        weights: a safetensors file of the same classes to begin with.

    Returns:
        The network, its spec, and what was transferred.

    Raises:
        RecipeError: there is nothing to fine-tune, or nothing of that name to transfer.
        WeightsError: the weights are of another network.
    """
    scheme = recipe.qat.scheme
    if scheme and weights is None:
        raise RecipeError(f"--qat {scheme} fine-tunes trained weights: name them with --weights")
    model = create_model(recipe.model, weights=weights, spec=facts, **recipe.model_args)
    transfer = None if weights is not None else load_pretrained(model, recipe)
    if transfer is not None:
        logger.info("%s: %s", recipe.model, transfer.describe())
    spec = spec_of(model)
    return (RoundedNetwork(model, SCHEMES[scheme]) if scheme else model), spec, transfer


def load_pretrained(model: nn.Module, recipe: Recipe) -> Transfer | None:
    """Load what ``recipe.pretrained`` names into ``model``; None where that is nothing.

    ``auto`` is the weights that ship for this network, where they fit, and on data of the user's
    own alone: a public data set is what they were trained on.
    """
    chosen = recipe.pretrained
    if chosen == "none":
        return None
    if chosen == "auto":
        return _shipped(model, recipe)
    if chosen in list_models():
        path = packaged_weights(chosen)
        if not path.exists():
            known = ", ".join(list_models(pretrained=True))
            raise RecipeError(f"--pretrained {chosen}: no weights ship for it; for these: {known}")
        return transfer_features(model, read_state(path), f"the weights of {chosen}")
    path = Path(chosen)
    if not path.is_file():
        raise RecipeError(
            f"--pretrained {chosen}: neither auto, none, a model with weights nor a file"
        )
    if path.suffix == ".safetensors":
        return transfer_features(model, read_state(path), path.name)
    imported = import_weights(path, recipe.model)
    return transfer_features(model, imported.model.state_dict(), path.name)


def _shipped(model: nn.Module, recipe: Recipe) -> Transfer | None:
    path = packaged_weights(recipe.model)
    if not path.exists() or not find_format(recipe.dataset).is_own:
        return None
    try:
        return transfer_features(model, read_state(path), f"the weights of {recipe.model}")
    except WeightsError as error:  # the recipe changes the width, say
        logger.info("%s; training starts from random weights", error)
        return None
