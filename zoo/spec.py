"""What travels with a network: the facts that a user needs to feed it and to read its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import nn

from ..errors import ModelError

Color = Literal["gray", "rgb", "bgr"]
# How a detector's raw maps are read; each has a decoder in tasks/detection.py.
Head = Literal["", "yolov5", "yolox", "dfl"]
ResizeRule = Literal["stretch", "letterbox"]
"""How an image of any size gets the input's: stretched, or with its aspect kept and grey around."""


@dataclass(frozen=True)
class TensorInput:
    """An input that is no image: float32 of a fixed shape, with the batch of 1 in front."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What travels with a network: all that is needed to feed it and to read its answer.

    ``mean`` and ``std`` are per channel, in the units of the image (0..255): the network's input
    is ``(pixel - mean) / std``. They are stated here once; every target places the normalisation
    where that target wants it.

    A detector is shown with boxes above ``score_threshold``, of two of a class that overlap by more
    than ``iou_threshold`` the better one, and at most ``max_boxes``; metrics look at all scores.

    ``resize`` is the rule by which images get their size; left empty, it is the task's own.

    A network that takes something else, or several inputs, names them in ``inputs``. Its samples
    are a structured array, a record a sample and a field an input; nothing is normalised.
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
    head: Head = ""  # of a detector
    score_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_boxes: int = 300
    resize: ResizeRule | Literal[""] = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)  # the builder's own: act, width ...
    inputs: tuple[TensorInput, ...] = ()  # empty: one image

    @property
    def in_channels(self) -> int:
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one image; the batch is always 1 on a chip."""
        return (1, self.in_channels, *self.input_size)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each input, with the batch of 1."""
        return tuple(each.shape for each in self.inputs) or (self.input_shape,)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs in the files that are written; an image is ``input``."""
        return tuple(each.name for each in self.inputs) or ("input",)

    @property
    def is_centred(self) -> bool:
        """Where a letterboxed image lies in its input: in the middle, with grey on both sides.

        YOLOX alone has all of the grey to the right and below.
        """
        return self.head != "yolox"

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
