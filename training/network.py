"""The network that a training begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.catalog import packaged_weights
from ..zoo.importers import import_weights
from ..zoo.registry import (
    create_model,
    fetch_published,
    list_models,
    model_entry,
    transfer_features,
)
from ..zoo.spec import ModelSpec, spec_of
from ..zoo.transfer import Transfer
from ..zoo.weights import WeightsError, read_spec_overrides, read_state
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
    features = None if weights is not None else find_features(recipe)
    fed = {} if features is None else features.fed_with(model_entry(recipe.model).spec)
    model = create_model(recipe.model, weights=weights, spec={**fed, **facts}, **recipe.model_args)
    transfer = None if features is None else _take(model, features, recipe)
    if transfer is not None:
        logger.info("%s: %s", recipe.model, transfer.describe())
    spec = spec_of(model)
    return (RoundedNetwork(model, SCHEMES[scheme]) if scheme else model), spec, transfer


@dataclass(frozen=True)
class Features:
    """Trained tensors by our names, and what is known of the images that they were trained on."""

    source: str
    state: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def fed_with(self, spec: ModelSpec) -> dict[str, Any]:
        """Mean and std, for a network of the family ``spec``, where it has as many channels."""
        fed = {key: self.facts[key] for key in ("mean", "std") if key in self.facts}
        return fed if all(len(each) == spec.in_channels for each in fed.values()) else {}


def find_features(recipe: Recipe) -> Features | None:
    """What ``recipe.pretrained`` names; None where that is nothing.

    ``auto`` is the weights that ship for this network, or else those that torchvision or timm
    publish for its layers, and on data of the user's own alone: a public data set is what the
    shipped ones were trained on.

    Raises:
        RecipeError: there is nothing of that name.
        WeightsError: it cannot be read.
    """
    chosen = recipe.pretrained
    if chosen == "none":
        return None
    if chosen == "auto":
        return _automatic(recipe)
    if chosen in list_models():
        if found := _of_model(chosen):
            return found
        known = ", ".join(list_models(pretrained=True))
        raise RecipeError(f"--pretrained {chosen}: no weights ship for it; for these: {known}")
    path = Path(chosen)
    if not path.is_file():
        raise RecipeError(
            f"--pretrained {chosen}: neither auto, none, a model with weights nor a file"
        )
    if path.suffix == ".safetensors":
        return Features(path.name, read_state(path), read_spec_overrides(path))
    model = import_weights(path, recipe.model).model
    return Features(path.name, model.state_dict(), spec_of(model).to_dict())


def _automatic(recipe: Recipe) -> Features | None:
    if not find_format(recipe.dataset).is_own:
        return None
    try:
        return _of_model(recipe.model)
    except WeightsError as error:  # no network, say
        logger.info("%s; training starts from random weights", error)
        return None


def _of_model(name: str) -> Features | None:
    path = packaged_weights(name)
    if path.exists():
        return Features(f"the weights of {name}", read_state(path), read_spec_overrides(path))
    published = fetch_published(name)
    if published is None:
        return None
    return Features(published.source, published.read(), published.facts)


def _take(model: nn.Module, features: Features, recipe: Recipe) -> Transfer | None:
    try:
        return transfer_features(model, features.state, features.source)
    except WeightsError as error:  # the recipe changes the width, say
        if recipe.pretrained != "auto":
            raise
        logger.info("%s; training starts from random weights", error)
        return None
