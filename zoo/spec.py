"""What travels with a network: the facts that a user needs to feed it and to read its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import nn

from ..errors import ModelError

Color = Literal["gray", "rgb", "bgr"]


@dataclass(frozen=True)
class ModelSpec:
    """What travels with a network: all that is needed to feed it and to read its answer.

    ``mean`` and ``std`` are per channel, in the units of the image (0..255): the network's input
    is ``(pixel - mean) / std``. They are stated here once; every target places the normalisation
    where that target wants it.
    """

    task: str  # classification, segmentation, detection, or another that is registered
    input_size: tuple[int, int]  # height, width
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
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
        """Where a detector's image lies in its input: YOLOv5 (anchors) has grey on both sides.

        YOLOX (none) has it to the right and below.
        """
        return bool(self.anchors)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
