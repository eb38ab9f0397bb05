"""The register of models: a name, a spec, and the function that builds the network.

The design follows torchvision's ``_api.py``: small enough to be read in one sitting, and the facts
that a user needs to feed a network (colour order, mean, classes) travel with it.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ..errors import ModelError

Task = Literal["classification", "segmentation", "detection"]
Color = Literal["gray", "rgb", "bgr"]
Builder = Callable[..., nn.Module]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """What travels with a network: all that is needed to feed it and to read its answer.

    ``mean`` and ``std`` are per channel, in the units of the picture (0..255): the network's input
    is ``(pixel - mean) / std``. They are stated here once; every target places the normalisation
    where that target wants it.
    """

    task: Task
    input_size: tuple[int, int]  # height, width
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    targets: tuple[str, ...]  # the targets that the network is designed for
    dataset: str  # what the shipped weights were trained on: the name of a data set adapter
    description: str
    reference: str  # where the architecture comes from
    license: str = "Apache-2.0"
    strides: tuple[int, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)  # the builder's own: act, width ...

    @property
    def in_channels(self) -> int:
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input; the batch is always 1 on a chip."""
        return (1, self.in_channels, *self.input_size)

    @property
    def is_centred(self) -> bool:
        """Where a detector's picture lies in its input: YOLOv5 (anchors) has grey on both sides.

        YOLOX (none) has it to the right and below.
        """
        return bool(self.anchors)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Entry:
    """One registered model."""

    name: str
    build: Builder
    spec: ModelSpec


CPUS_AND_NPUS = (
    *("onnxruntime", "torchscript", "opencv", "opencv5", "mnn", "openvino", "ncnn", "rknn"),
    *("litert", "executorch", "coreml", "ethos-u"),
)

_COMMON_ARGUMENTS = ("num_classes", "in_channels", "input_size")  # the spec states these
_ENTRIES: dict[str, Entry] = {}


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
        return build

    return decorate


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of the models that match a shell-style ``pattern``, sorted.

    With ``pretrained`` only those whose trained weights ship.
    """
    from .weights import packaged_weights

    names = sorted(name for name in _ENTRIES if fnmatch(name, pattern))
    return [name for name in names if packaged_weights(name).exists()] if pretrained else names


def model_entry(name: str) -> Entry:
    """The entry of ``name``.

    Raises:
        ModelError: for an unknown name; the message offers the nearest ones.
    """
    try:
        return _ENTRIES[name]
    except KeyError:
        near = difflib.get_close_matches(name, _ENTRIES, n=3) or list_models()
        raise ModelError(f"unknown model {name!r}; did you mean {', '.join(near)}?") from None


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
            input size).
        weights: load this safetensors file instead (its spec comes with it). With another
            ``num_classes`` than the file's, all tensors but the head's are loaded.
        spec: spec fields to replace, for a network of your own: ``{"classes": (...)}``.
        **kwargs: the builder's own arguments (``num_classes``, ``in_channels``, ``input_size``,
            ``act``, ``width`` ...). ``input_size`` is ``(height, width)`` in pixels and is fixed
            here: a network for a chip has one input size.

    Raises:
        ModelError: unknown name or argument, or arguments that make no network.
        WeightsError: the weights do not fit this network.
    """
    from .weights import load_weights, packaged_weights, read_spec_overrides, read_state

    entry = model_entry(name)
    changes = dict(spec or {})
    source = packaged_weights(name) if pretrained and weights is None else weights
    other = False  # whether the weights are of a network with another number of classes
    if source is not None and Path(source).exists():
        stored = read_spec_overrides(source)
        count = len(stored.get("classes", ()))
        if count and kwargs.get("num_classes", count) != count:
            other = True
            del stored["classes"]
        changes = {**stored, **changes}
    try:
        merged = _merge_spec(entry.spec, changes, kwargs)
        # A detector's anchors have one source: the builder gets them from the spec.
        boxes = {"anchors": merged.anchors, "strides": merged.strides} if merged.anchors else {}
        model = entry.build(
            num_classes=len(merged.classes),
            in_channels=merged.in_channels,
            input_size=merged.input_size,
            **boxes,
            **merged.arguments,
        )
    except TypeError as error:
        raise ModelError(f"{name}: {error}") from None
    model.name = name  # type: ignore[assignment]
    model.spec = merged  # type: ignore[assignment]
    if other:
        from .transfer import transfer_weights

        assert source is not None
        transfer = transfer_weights(model, read_state(source), str(source))
        logger.info("%s: %s", name, transfer.describe())
    elif pretrained or weights is not None:
        load_weights(model, weights)
    return model


def spec_of(model: nn.Module) -> ModelSpec:
    """The spec of a model that :func:`create_model` made.

    Raises:
        ModelError: a module without one; attach your own as ``model.spec = ModelSpec(...)``.
    """
    spec = getattr(model, "spec", None)
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"{type(model).__name__} has no spec; set model.spec = ModelSpec(...)")
    return spec


def name_of(model: nn.Module) -> str:
    """The model's name in the zoo, or its class for a module of another origin."""
    return str(getattr(model, "name", type(model).__name__))


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
                f"in_channels={in_channels}: a picture has 1 (gray) or 3 (rgb) channels"
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
