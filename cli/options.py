"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from ..errors import EdgearkError
from ..settings import trust_files

if TYPE_CHECKING:
    from ..export.targets.base import Quantization

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ModelName = Annotated[str, typer.Argument(help="A name that `edgeark models` lists.")]
NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="FILE.py:FACTORY, package.module:FACTORY, timm:NAME, torchvision:NAME, an .onnx, a "
        "TorchScript .pt, a torch.export .pt2, or a model of the zoo.",
    ),
]
InputShapeOption = Annotated[
    Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
    typer.Option(
        "--input-shape",
        help="Shape of its input, 3x224x224; of several: image=3x112x112,other=10.",
    ),
]
DataDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", help="Folder of the data set. Default: $EDGEARK_DATA, then the cache."),
]
ImagesOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--images",
        help="Folder of your own images (or .npy, .npz arrays), no labels needed: half of it "
        "calibrates int8, half is compared on.",
    ),
]
MeanOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--mean", help="Mean per channel in 0..255, as 123.7,116.3,103.5. Default: 0."),
]
StdOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--std", help="Standard deviation per channel in 0..255. Default: 255."),
]
ColorOption = Annotated[
    Optional[Literal["rgb", "bgr", "gray"]],  # noqa: UP045
    typer.Option("--color", help="Order of the image's channels. Default: rgb."),
]
MetricOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--metric", help="FILE.py:FUNCTION that scores raw outputs, 0 to 1."),
]
RewriteFlag = Annotated[
    bool, typer.Option("--rewrite", help="First replace what the targets lack by what is equal.")
]
PretrainedFlag = Annotated[
    bool, typer.Option("--pretrained", help="Load timm's or torchvision's published weights.")
]
WeightsFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--weights",
        help="Weights: .safetensors, or a state dict (.pt, .pth). Default: those that ship.",
    ),
]
Int8Flag = Annotated[bool, typer.Option("--int8", help="Quantise as well, where the target can.")]
AlgorithmOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--calibration-method", help="How int8 ranges are chosen: normal, mmse ... (rknn)."
    ),
]
CalibrationCount = Annotated[
    int, typer.Option("--calibration-count", min=1, help="Training images to choose them by.")
]
MixedFlag = Annotated[
    bool, typer.Option("--mixed-precision", help="Keep layers that int8 ruins in 16 bits (rknn).")
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--limit", min=1, help="At most this many test images, an equal share of each class."
    ),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=1, help="Exports at a time; timings are right with 1 alone.")
]
TargetNames = Annotated[
    str, typer.Option("--to", help="Targets, comma-separated, or groups: all, cpu, npu, mcu.")
]
ToolOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--tool",
        metavar="NAME=PATH",
        help="A program that runs an export: pplnn=PROGRAM, rknn1=PYTHON, tensorrt=PYTHON.",
    ),
]
OfflineFlag = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]


def _trust(value: bool) -> bool:
    if value:
        trust_files()
    return value


TrustFlag = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=_trust,
        help="Run programs that files hold with all of your rights: you know who made them.",
    ),
]


def quantization_of(count: int, algorithm: str | None, mixed: bool) -> Quantization:
    """What those options say of int8."""
    from ..export.targets.base import Quantization

    return Quantization(count, algorithm, mixed)


def numbers(text: str | None) -> list[float] | None:
    """The numbers of ``123.7,116.3,103.5``.

    Raises:
        EdgearkError: something else is in it.
    """
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(math.isfinite(value) for value in values):
        raise EdgearkError(f"{text!r}: write numbers with commas, as 123.7,116.3,103.5")
    return values
