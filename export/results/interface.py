"""How an artifact is fed and read: the part of its manifest that board programs go by.

The same classes describe it in ``manifest.json`` and in the ``model.json`` of a bundle. The
formulas of the decoders are in ``docs/bundle.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, PositiveInt, computed_field
from pydantic.dataclasses import dataclass

from ...zoo.spec import Color, ModelSpec, ResizeRule
from ...zoo.tasks.letterbox import GREY
from ..targets.base import Artifact, Target
from ..tasks import get_task

Layout = Literal["NCHW", "NHWC"]

_STRICT = ConfigDict(extra="ignore", allow_inf_nan=False)  # a later edgeark may write more
_IN_THE_MODEL = "in the model"  # a target's ``normalization``: it takes raw pixels


def _one_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[:1] != (1,):
        raise ValueError("a chip takes one sample at a time: the batch is 1")
    return shape


InputShape = Annotated[tuple[PositiveInt, ...], AfterValidator(_one_sample)]


@dataclass(frozen=True, config=_STRICT)
class ResizeFacts:
    """How an image of any size is brought to the input's.

    ``letterbox`` keeps its proportions: a side is ``round(side * ratio)``, half to even, at least
    1; of an odd margin the larger half is right or below; ``pad_value`` fills it. ``antialias``
    widens the bilinear filter where it shrinks. Pixel centres are at half-integers, and resized
    pixels are rounded, half to even.
    """

    rule: ResizeRule = "stretch"
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: bool = True
    centred: bool = True
    pad_value: int = GREY


@dataclass(frozen=True)
class LetterboxFacts:
    """``grey`` fills what the image leaves, on both sides where ``centred``."""

    grey: int
    centred: bool


@dataclass(frozen=True, config=_STRICT)
class InputFacts:
    """The runtime's input, as it wants it.

    ``mean`` and ``std`` are per channel, in 0..255, in the order of ``color``; ``normalized_by``
    says who applies them, ``normalization`` how the target calls that. A ``scale`` above 0:
    ``round(value / scale) + zero_point`` goes in.
    """

    shape: InputShape
    color: Color
    name: str = "input"
    layout: Layout = "NCHW"
    type: Literal["float32", "uint8", "int8"] = "float32"
    range: tuple[int, int] = (0, 255)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normalization: str = ""
    normalized_by: Literal["program", "model"] = "program"
    scale: float = 0.0
    zero_point: int = 0
    resize: ResizeFacts = field(default_factory=ResizeFacts)

    @computed_field
    @property
    def height(self) -> int:
        return self._side(1)

    @computed_field
    @property
    def width(self) -> int:
        return self._side(2)

    def _side(self, axis: int) -> int:
        """Of an image; 1 for other tensors."""
        if len(self.shape) != 4:
            return 1
        return self.shape[axis + (self.layout == "NCHW")]

    @computed_field
    @property
    def letterbox(self) -> LetterboxFacts | None:
        """Of ``resize`` what manifests of version 1 had."""
        if self.resize.rule != "letterbox":
            return None
        return LetterboxFacts(self.resize.pad_value, self.resize.centred)


@dataclass(frozen=True, config=_STRICT)
class OutputFacts:
    """An output as the runtime gives it; of integers the value is ``(q - zero_point) * scale``."""

    shape: tuple[int, ...]
    name: str = ""
    layout: Layout = "NCHW"
    type: Literal["float32", "int8"] = "float32"
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, config=_STRICT)
class HeadFacts:
    """How outputs become an answer: a task's decoder, and what it needs.

    ``strides`` are input pixels per cell and ``anchors`` widths and heights in input pixels, a
    raw map each. ``decoder`` is ``raw`` where nothing is known of the outputs, and empty for a
    detector whose spec names no head.
    """

    decoder: str
    classes: tuple[str, ...] = ()
    strides: tuple[PositiveInt, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    scores: Literal["logits", "probabilities"] = "logits"
    score_threshold: float = 0.5
    iou_threshold: float = ModelSpec.iou_threshold
    max_boxes: int = ModelSpec.max_boxes


def input_facts(spec: ModelSpec, target: Target, artifact: Artifact) -> InputFacts:
    """The input of an artifact; of several tensors the first."""
    settings, (kind, own_layout, normalized_by) = artifact.settings, _runtime_input(target)
    layout: Layout = "NHWC" if "NHWC" in (settings.get("layout"), own_layout) else "NCHW"
    scale, zero_point = _quantization(settings.get("input"))
    (shape, *_), is_image = spec.input_shapes, not spec.inputs
    return InputFacts(
        name=_names(settings, "input")[0] if is_image else spec.input_names[0],
        shape=turned(shape, layout) if is_image else shape,
        layout=layout if is_image else "NCHW",
        type="int8" if scale else (kind if is_image else "float32"),
        color=spec.color,
        mean=spec.mean,
        std=spec.std,
        normalization=target.normalization,
        normalized_by=normalized_by if is_image else "program",
        scale=scale,
        zero_point=zero_point,
        resize=resize_facts(spec),
    )


def output_facts(
    artifact: Artifact, shapes: Sequence[tuple[int, ...]], names: Sequence[str] = ()
) -> tuple[OutputFacts, ...]:
    """The outputs of an artifact.

    Args:
        artifact: its settings say what the runtime calls and quantises them.
        shapes: in PyTorch's layout, with a batch of 1.
        names: in the network; by default ``output``, or ``output0`` and so on.
    """
    layout: Layout = artifact.settings.get("layout", "NCHW")
    default = ["output"] if len(shapes) == 1 else [f"output{i}" for i in range(len(shapes))]
    given = artifact.settings.get("outputs", [])
    called = _names(artifact.settings, "output") or [*names] or default
    found = []
    for index, shape in enumerate(shapes):
        scale, zero_point = _quantization(given[index] if index < len(given) else None)
        found.append(
            OutputFacts(
                name=called[index] if index < len(called) else default[index],
                shape=turned(shape, layout),
                layout=layout if len(shape) == 4 else "NCHW",
                type="int8" if scale else "float32",
                scale=scale,
                zero_point=zero_point,
            )
        )
    return tuple(found)


def head_facts(spec: ModelSpec) -> HeadFacts:
    """How a network's outputs are read."""
    task = get_task(spec.task)
    return HeadFacts(
        decoder=task.decoder(spec),
        classes=spec.classes,
        strides=spec.strides,
        anchors=spec.anchors,
        score_threshold=spec.score_threshold if task.has_head else HeadFacts.score_threshold,
        iou_threshold=spec.iou_threshold,
        max_boxes=spec.max_boxes,
    )


def resize_facts(spec: ModelSpec) -> ResizeFacts:
    """How an image is brought to a network's size."""
    rule = get_task(spec.task).resize_rule(spec)
    return ResizeFacts(rule, centred=spec.is_centred) if rule == "letterbox" else ResizeFacts(rule)


def turned(nchw: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """A shape as the file has it: maps turn, what is no map stays."""
    if layout == "NHWC" and len(nchw) == 4:
        batch, channels, height, width = nchw
        return (batch, height, width, channels)
    return tuple(nchw)


def _runtime_input(
    target: Target,
) -> tuple[Literal["float32", "uint8"], Layout, Literal["program", "model"]]:
    """Type and layout of an image on the chip, and who normalises it."""
    if target.board is not None:
        return target.board.input_type, target.board.input_layout, target.board.normalized_by
    if target.normalization == _IN_THE_MODEL:
        return "uint8", "NCHW", "model"
    return "float32", "NCHW", "program"


def _quantization(entry: object) -> tuple[float, int]:
    """Scale and zero point of an entry of an artifact's settings; 0 where it has none."""
    if isinstance(entry, Mapping) and entry.get("scale"):
        return float(entry["scale"]), int(entry["zero_point"])
    return 0.0, 0


def _names(settings: Mapping[str, Any], kind: Literal["input", "output"]) -> list[str]:
    """What the runtime calls its inputs or outputs, where that is not as the network does."""
    given = settings.get(f"{kind}s", settings.get(kind))
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    found = [each for each in names if isinstance(each, str)]
    return found or (["input"] if kind == "input" else [])
