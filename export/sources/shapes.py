"""Shapes and normalisation as users give them, and the spec that they make."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import SourceError
from ...zoo.spec import Color, Head, ModelSpec, ResizeRule, TensorInput
from ..tasks import get_task

_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*)*")
_COLORS: dict[int, Color] = {1: "gray", 3: "rgb"}


@dataclass(frozen=True)
class InputOptions:
    """What a user says of a network's inputs; None where nothing was said.

    Args:
        shapes: ``3x224x224``, or by name ``image=3x224x224,other=10``; a batch of 1 may stand in
            front where it makes four dimensions of an image. Or a mapping, without the batch.
        mean: per channel, in the units of the image (0..255).
        std: per channel, likewise.
        color: ``rgb``, ``bgr`` or ``gray``.
        resize: ``stretch`` or ``letterbox``; the task's own rule unless it is said.
        classes: names of the classes, where the task has any.
        task: what it is for; ``raw`` compares numbers alone.
        dataset: the kind of labelled data that measures it; ``""``: none.
        head: of a detector, as are the next two; see :class:`ModelSpec`.
        strides: pixels between the cells of each map.
        anchors: widths and heights in pixels, of each stride.
        thresholds: of a detector, by their names in :class:`ModelSpec`; its defaults hold else.
    """

    shapes: str | Mapping[str, Sequence[int]] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    color: Color | None = None
    resize: ResizeRule | None = None
    classes: Sequence[str] = ()
    task: str = "raw"
    dataset: str = ""
    head: Head = ""
    strides: Sequence[int] = ()
    anchors: Sequence[Sequence[tuple[float, float]]] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether anything was said."""
        return self != InputOptions()

    @property
    def about_images(self) -> list[str]:
        """The options that say how pixels go in, of those that were given."""
        names = ("mean", "std", "color", "resize")
        return [f"--{name}" for name in names if getattr(self, name) is not None]


def make_spec(
    name: str,
    shapes: Mapping[str, Sequence[int]],
    options: InputOptions,
    facts: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """The spec of a network of a user's own; one image, or tensors by name.

    Args:
        name: for the messages.
        shapes: of each input, without its batch.
        options: what the user says.
        facts: ``mean`` and ``std`` that come with the network.
    """
    facts = facts or {}
    (first, shape), *others = shapes.items()
    is_image = not others and len(shape) == 3 and shape[0] in _COLORS
    common: dict[str, Any] = {
        "task": options.task,
        "classes": tuple(options.classes),
        "dataset": options.dataset,
        "head": options.head,
        "strides": tuple(options.strides),
        "anchors": tuple(map(tuple, options.anchors)),
        **options.thresholds,
        "description": name,
        "reference": "",
        "license": "",
    }
    if not is_image and options.task != "raw":
        raise SourceError(
            f"{options.task} takes one image of 1 or 3 channels, {name} something else"
        )
    if not is_image:
        if said := options.about_images:
            raise SourceError(
                f"{' and '.join(said)} {'is' if len(said) == 1 else 'are'} for one image of 1 or 3 "
                f"channels; {first} is {'x'.join(map(str, shape))}: prepare its tensors yourself"
            )
        tensors = tuple(TensorInput(each, (1, *sides)) for each, sides in shapes.items())
        return ModelSpec(input_size=(1, 1), color="rgb", mean=(), std=(), inputs=tensors, **common)
    channels, height, width = shape
    mean = _per_channel("--mean", options.mean or facts.get("mean") or (0.0,), channels)
    std = _per_channel("--std", options.std or facts.get("std") or (255.0,), channels)
    if options.std is not None and max(*mean, *std) <= 1:
        raise SourceError(
            "--mean and --std are in the units of the image, 0..255: multiply them by 255"
        )
    if min(std) <= 0:
        raise SourceError(f"--std {min(std)}: a standard deviation is larger than 0")
    color = options.color or _COLORS[channels]
    if (color == "gray") != (channels == 1):
        raise SourceError(f"--color {color}: the network's image has {channels} channels")
    if options.resize:
        _require_resize(options.resize, options)
    resize = options.resize or ""
    size = (height, width)
    return ModelSpec(input_size=size, color=color, mean=mean, std=std, resize=resize, **common)


def _require_resize(rule: ResizeRule, options: InputOptions) -> None:
    """The task's decoders undo the rule, and its data sets follow it."""
    task = get_task(options.task)
    if rule not in task.resizes:
        raise SourceError(f"--resize {rule}: {task.name} takes images by {task.resizes[0]} alone")
    if options.dataset and rule != task.resize:
        raise SourceError(
            f"--resize {rule}: the labelled data of {task.name} is read by {task.resize}; "
            "leave dataset out of the spec, and measure with --images and --metric"
        )


def _per_channel(option: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) == 1:
        return tuple(float(values[0]) for _ in range(channels))
    if len(values) != channels:
        raise SourceError(f"{option} has {len(values)} values, the image {channels} channels")
    return tuple(map(float, values))


def without_batch(shape: Sequence[int]) -> tuple[int, ...]:
    """``1x3x224x224`` is ``3x224x224``: of four sides and more, a leading 1 is the batch."""
    sides = tuple(int(side) for side in shape)
    return sides[1:] if len(sides) > 3 and sides[0] == 1 else sides


def parse_shapes(text: str | Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """``3x224x224`` or ``image=3x112x112,other=10``, by name; one without a name is ``input``."""
    if not isinstance(text, str):
        return {name: tuple(map(int, sides)) for name, sides in text.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for part in text.split(","):
        name, separator, sides = part.strip().rpartition("=")
        name = name.strip() if separator else "input"
        if not _SHAPE.fullmatch(sides) or not name or name in shapes or sides.count("x") > 4:
            raise SourceError(
                f"--input-shape {text}: write 3x224x224, or by name image=3x112x112,other=10"
            )
        shapes[name] = tuple(int(side) for side in sides.split("x"))
    return shapes


Examples = Tensor | np.ndarray | Sequence[Any] | Mapping[str, Any]
"""Example inputs, ``[1, ...]`` each: one, several in order, or by name."""


def with_examples(options: InputOptions, examples: Examples | None, network: Any) -> InputOptions:
    """The options with the shapes of example inputs.

    Args:
        options: what else is said of the inputs.
        examples: None says nothing.
        network: a module's ``forward`` names its inputs.

    Raises:
        SourceError: an example has no batch in front.
    """
    if examples is None:
        return options
    if isinstance(examples, Mapping):
        named = dict(examples)
    else:
        several = isinstance(examples, (tuple, list))
        listed: list[Any] = list(examples) if several else [examples]
        named = dict(zip(_input_names(network, len(listed)), listed, strict=False))
    for name, value in named.items():
        if np.ndim(value) < 2:
            raise SourceError(f"the example input {name} has no batch in front: [1, ...]")
    return replace(options, shapes={n: tuple(map(int, v.shape[1:])) for n, v in named.items()})


def _input_names(network: Any, count: int) -> list[str]:
    if count == 1:
        return ["input"]
    forward = getattr(network, "forward", None)
    names = list(inspect.signature(forward).parameters) if forward else []
    return names if len(names) >= count else [f"input{index}" for index in range(count)]
