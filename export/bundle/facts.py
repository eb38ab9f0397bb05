"""What a board program has to know of a network: the content of ``model.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import onnx

from ...errors import EdgearkError
from ...zoo.spec import ModelSpec
from ...zoo.tasks.detection import IOU_THRESHOLD, MAX_BOXES, SCORE_THRESHOLD
from ...zoo.tasks.letterbox import GREY
from ..results.manifest import Manifest
from ..targets.board import BoardRuntime
from ..tasks import get_task

SCHEMA = 1

Layout = Literal["NCHW", "NHWC"]
Decoder = Literal["raw", "softmax", "argmax", "threshold", "yolov5", "yolox", "dfl"]


class BundleError(EdgearkError):
    """An export of which no bundle can be made."""


@dataclass(frozen=True)
class InputFacts:
    """The runtime's input.

    ``mean`` and ``std`` are per channel, in 0..255, in the order of ``color``; ``normalized_by``
    says who applies them. A ``scale`` above 0: ``round(value / scale) + zero_point`` goes in.
    """

    name: str
    shape: tuple[int, ...]
    layout: Layout
    type: Literal["float32", "uint8", "int8"]
    height: int
    width: int
    color: Literal["gray", "rgb", "bgr"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalized_by: Literal["program", "model"]
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class ResizeFacts:
    """How an image of any size is brought to the input's.

    ``letterbox`` keeps its proportions: a side is ``round(side * ratio)``, half to even, at least
    1; of an odd margin the larger half is right or below; ``pad_value`` fills it. ``antialias``
    widens the bilinear filter where it shrinks.
    """

    rule: Literal["stretch", "letterbox"]
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: bool = True
    centred: bool = True
    pad_value: int = GREY


@dataclass(frozen=True)
class OutputFacts:
    """An output as the runtime gives it; of integers the value is ``(q - zero_point) * scale``."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    type: Literal["float32", "int8"] = "float32"
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class HeadFacts:
    """How outputs become an answer; the formulas are in ``docs/bundle.md``."""

    decoder: Decoder
    classes: tuple[str, ...]
    strides: tuple[int, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    scores: Literal["logits", "probabilities"] = "logits"
    score_threshold: float = 0.5
    iou_threshold: float = IOU_THRESHOLD
    max_boxes: int = MAX_BOXES


@dataclass(frozen=True)
class GoldenFacts:
    """Raw files: inputs uint8 ``[N, C, h, w]``; the export's and PyTorch's answers, float32.

    Another processor may answer otherwise by ``tolerance`` of the largest magnitude, at least 1.
    """

    count: int
    pixels: str
    export: tuple[str, ...]
    pytorch: tuple[str, ...]
    tolerance: float


@dataclass(frozen=True)
class Facts:
    """All of it; ``runtime`` holds what the backend's own code needs besides."""

    model: str
    task: str
    target: str
    precision: str
    license: str
    files: tuple[dict[str, str], ...]
    input: InputFacts
    resize: ResizeFacts
    outputs: tuple[OutputFacts, ...]
    head: HeadFacts
    golden: GoldenFacts
    runtime: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def facts_of(
    manifest: Manifest, board: BoardRuntime, folder: Path, golden: GoldenFacts, chip: str | None
) -> Facts:
    """The facts of an export for the runtime of a board.

    Args:
        manifest: the export's.
        board: how its target's runtime is fed.
        folder: of the export.
        golden: the golden files of the bundle.
        chip: the target's, where it has chips.

    Raises:
        BundleError: the network takes no image.
    """
    spec = manifest.spec
    names = _names(manifest, folder)
    return Facts(
        model=manifest.model,
        task=manifest.task,
        target=manifest.target,
        precision=manifest.precision,
        license=manifest.license,
        files=tuple({"name": file.name, "sha256": file.sha256} for file in manifest.files),
        input=_input_facts(manifest, board, names[0]),
        resize=_resize_facts(spec),
        outputs=_output_facts(manifest, names[1:]),
        head=head_facts(spec),
        golden=golden,
        runtime={**manifest.settings, "chip": chip} if board.takes_sources else {},
    )


def _input_facts(manifest: Manifest, board: BoardRuntime, name: str) -> InputFacts:
    spec, found = manifest.spec, manifest.input
    quantized = _quantization(manifest.settings.get("input"))
    layout: Layout = "NHWC" if "NHWC" in (found.layout, board.input_layout) else "NCHW"
    batch, channels, height, width = spec.input_shape
    nhwc = (batch, height, width, channels)
    return InputFacts(
        name=name,
        shape=nhwc if layout == "NHWC" else spec.input_shape,
        layout=layout,
        type="int8" if quantized[0] else board.input_type,
        height=height,
        width=width,
        color=spec.color,
        mean=spec.mean,
        std=spec.std,
        normalized_by=board.normalized_by,
        scale=quantized[0],
        zero_point=quantized[1],
    )


def _resize_facts(spec: ModelSpec) -> ResizeFacts:
    if get_task(spec.task).letterboxed:
        return ResizeFacts("letterbox", centred=spec.is_centred)
    return ResizeFacts("stretch")


def _output_facts(manifest: Manifest, names: Sequence[str]) -> tuple[OutputFacts, ...]:
    given = manifest.settings.get("outputs", [])
    found = []
    for index, output in enumerate(manifest.outputs):
        entry = given[index] if index < len(given) else None
        scale, zero_point = _quantization(entry)
        is_map = manifest.input.layout == "NHWC" and len(output.shape) == 4
        found.append(
            OutputFacts(
                name=names[index] if index < len(names) else f"output{index}",
                shape=output.shape,
                layout="NHWC" if is_map else "NCHW",
                type="int8" if scale else "float32",
                scale=scale,
                zero_point=zero_point,
            )
        )
    return tuple(found)


def head_facts(spec: ModelSpec) -> HeadFacts:
    """How a network's outputs are read.

    Raises:
        BundleError: a detector that names no head.
    """
    task = get_task(spec.task)
    decoder = task.decoder(spec)
    if not decoder:
        raise BundleError(f"a detector without a head in its spec: {spec.description}")
    if not task.has_head:
        return HeadFacts(cast(Decoder, decoder), spec.classes)
    return HeadFacts(
        decoder=cast(Decoder, decoder),
        classes=spec.classes,
        strides=spec.strides,
        anchors=spec.anchors,
        score_threshold=SCORE_THRESHOLD,
    )


def _quantization(entry: object) -> tuple[float, int]:
    """Scale and zero point of an entry of a manifest's settings; 0 where it has none."""
    if isinstance(entry, dict) and entry.get("scale"):
        return float(entry["scale"]), int(entry["zero_point"])
    return 0.0, 0


def _names(manifest: Manifest, folder: Path) -> list[str]:
    """The names of the input and the outputs, where the file or the settings say them."""
    path = folder / manifest.files[0].name
    if path.suffix == ".onnx":
        graph = onnx.load(path, load_external_data=False).graph
        return [graph.input[0].name, *(value.name for value in graph.output)]
    settings = manifest.settings
    entry = settings.get("input", "input")
    (name,) = settings.get("inputs", [entry if isinstance(entry, str) else "input"])
    return [name, *(each for each in settings.get("outputs", []) if isinstance(each, str))]
