"""The register of models: a name, a spec, and the function that builds the network.

The design follows torchvision's ``_api.py``: small enough to be read in one sitting, and the facts
that a user needs to feed a network (colour order, mean, classes) travel with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.catalog import note_model, packaged_weights, unknown_model
from ..errors import EdgearkError, ModelError
from .spec import ModelSpec, name_of, spec_of
from .transfer import Transfer, transfer_weights
from .weights import load_state, read_spec_overrides, read_state, require_shipped

Builder = Callable[..., nn.Module]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One registered model."""

    name: str
    build: Builder
    spec: ModelSpec


@dataclass(frozen=True)
class Trained:
    """Where weights come from, what they say of the spec, and how their tensors are read."""

    source: str
    facts: Mapping[str, Any]
    read: Callable[[], Mapping[str, Tensor]]


_COMMON_ARGUMENTS = ("num_classes", "in_channels", "input_size")  # the spec states these
_ENTRIES: dict[str, Entry] = {}
_PUBLISHED: dict[str, Callable[[str], Trained]] = {}


def register_model(spec: ModelSpec) -> Callable[[Builder], Builder]:
    """Register the decorated builder under its function name.

    Raises:
        ValueError: if the name is taken: two models of one name are always a mistake.
    """

    def decorate(build: Builder) -> Builder:
        name = build.__name__
        if name in _ENTRIES:
            raise ValueError(f"model {name!r} is registered twice; give one of them another name")
        _ENTRIES[name] = Entry(name, build, spec)
        note_model(name)
        return build

    return decorate


def register_published(names: Iterable[str], fetch: Callable[[str], Trained]) -> None:
    """Let ``fetch`` find the weights that others publish for the models ``names``."""
    _PUBLISHED.update(dict.fromkeys(names, fetch))


def fetch_published(name: str) -> Trained | None:
    """The weights that others publish for the model ``name``; None where there are none.

    Raises:
        WeightsError: they are neither in the loader's cache nor to be reached.
    """
    fetch = _PUBLISHED.get(name)
    return None if fetch is None else fetch(name)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of the models that match a shell-style ``pattern``, sorted.

    With ``pretrained`` only those whose trained weights ship.
    """
    names = sorted(name for name in _ENTRIES if fnmatch(name, pattern))
    return [name for name in names if packaged_weights(name).exists()] if pretrained else names


def index() -> str:
    """The specs of all models as JSON, as zoo/index.json has them for who does not need PyTorch."""
    specs = {name: _ENTRIES[name].spec.to_dict() for name in list_models()}
    lines = (
        f"{json.dumps(name)}: {json.dumps(spec, sort_keys=True)}" for name, spec in specs.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def model_entry(name: str) -> Entry:
    """The entry of ``name``.

    Raises:
        ModelError: for an unknown name; the message offers the nearest ones.
    """
    try:
        return _ENTRIES[name]
    except KeyError:
        raise unknown_model(name, _ENTRIES) from None


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    spec: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a model of the zoo; its spec is at ``model.spec``, its name at ``model.name``.

    Args:
        name: one of :func:`list_models`.
        pretrained: load the weights that ship with edgeark (their spec comes with them: classes,
            input size), or else the ImageNet weights that torchvision or timm publish for the same
            layers; their loaders fetch those.
        weights: load this safetensors file instead (its spec comes with it). With another
            ``num_classes`` than the weights', all tensors but the head's are loaded.
        spec: spec fields to replace, for a network of your own: ``{"classes": (...)}``.
        **kwargs: the builder's own arguments (``num_classes``, ``in_channels``, ``input_size``,
            ``act``, ``width`` ...). ``input_size`` is ``(height, width)`` in pixels and is fixed
            here: a network for a chip has one input size.

    Raises:
        ModelError: unknown name or argument, or arguments that make no network.
        WeightsError: the weights do not fit this network.
    """
    entry = model_entry(name)
    changes = dict(spec or {})
    trained = _find_trained(name, weights) if pretrained or weights is not None else None
    has_other_classes = False  # than the weights
    if trained is not None:
        stored = dict(trained.facts)
        count = len(stored.get("classes", ()))
        if count and kwargs.get("num_classes", count) != count:
            has_other_classes = True
            del stored["classes"]
        changes = {**stored, **changes}
    try:
        merged = _merge_spec(entry.spec, changes, kwargs)
        model = _build(entry, merged)
    except TypeError as error:
        raise ModelError(f"{name}: {error}") from None
    except (ValueError, RuntimeError, ArithmeticError, IndexError, KeyError) as error:
        if isinstance(error, EdgearkError):
            raise
        said = " ".join(str(error).split())[:200]
        raise ModelError(f"{name} cannot be made with these arguments: {said}") from error
    model.name = name  # type: ignore[assignment]
    model.spec = merged  # type: ignore[assignment]
    if trained is not None and has_other_classes:
        transfer = transfer_features(model, trained.read(), trained.source)
        logger.info("%s: %s", name, transfer.describe())
    elif trained is not None:
        load_state(model, trained.read(), trained.source)
    return model


def _find_trained(name: str, weights: str | Path | None) -> Trained:
    """A file of the user's, the weights that ship for ``name``, or those that are published.

    Raises:
        WeightsError: there are none, or they cannot be read.
    """
    path = packaged_weights(name) if weights is None else Path(weights)
    if weights is None and not path.exists() and (published := fetch_published(name)):
        return published
    if weights is None:
        require_shipped(name)
    facts = read_spec_overrides(path)
    return Trained(str(path), facts, lambda: read_state(path))


def _build(entry: Entry, spec: ModelSpec) -> nn.Module:
    # A detector's anchors have one source: the builder gets them from the spec.
    boxes = {"anchors": spec.anchors, "strides": spec.strides} if spec.anchors else {}
    return entry.build(
        num_classes=len(spec.classes),
        in_channels=spec.in_channels,
        input_size=spec.input_size,
        **boxes,
        **spec.arguments,
    )


def transfer_features(model: nn.Module, state: Mapping[str, Tensor], source: str) -> Transfer:
    """Copy tensors of the same name and shape into ``model``, but for its head's.

    Args:
        model: of :func:`create_model`; changed in place.
        state: a trained state dict of the same architecture.
        source: where it is from, for messages.

    Raises:
        WeightsError: it is of another architecture.
    """
    return transfer_weights(model, state, head_tensors(model), source)


def head_tensors(model: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    spec = spec_of(model)
    another = replace(spec, classes=(*spec.classes, "another"))
    with torch.random.fork_rng(devices=[]):
        other = _build(model_entry(name_of(model)), another)
    shapes = {key: value.shape for key, value in other.state_dict().items()}
    return {k for k, value in model.state_dict().items() if shapes.get(k) != value.shape}


def _merge_spec(
    spec: ModelSpec, changes: Mapping[str, Any], kwargs: Mapping[str, Any]
) -> ModelSpec:
    """The spec of this very network: the family's, changed where the caller's network differs."""
    merged = replace(spec, **changes)
    num_classes = kwargs.get("num_classes", len(merged.classes))
    if num_classes != len(merged.classes):
        if "classes" in changes:
            raise ModelError(
                f"num_classes={num_classes} but {len(merged.classes)} class names are given"
            )
        merged = replace(merged, classes=tuple(str(i) for i in range(num_classes)))
    in_channels = kwargs.get("in_channels", merged.in_channels)
    if in_channels != merged.in_channels:
        if in_channels not in (1, 3):
            raise ModelError(
                f"in_channels={in_channels}: an image has 1 (gray) or 3 (rgb) channels"
            )
        merged = replace(
            merged,
            color="gray" if in_channels == 1 else "rgb",
            mean=_resize_channels(merged.mean, in_channels),
            std=_resize_channels(merged.std, in_channels),
        )
    if "input_size" in kwargs:
        height, width = kwargs["input_size"]
        merged = replace(merged, input_size=(int(height), int(width)))
    own = {key: value for key, value in kwargs.items() if key not in _COMMON_ARGUMENTS}
    merged = replace(merged, arguments={**merged.arguments, **own})
    if len(merged.mean) != len(merged.std):
        raise ModelError(f"mean has {len(merged.mean)} channels and std has {len(merged.std)}")
    return merged


def _resize_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    average = sum(values) / len(values)
    return (average,) * channels
