"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from ..export.quantization import Quantization

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ModelName = Annotated[str, typer.Argument(help="A name that `edgeark models` lists.")]
NetworkName = Annotated[
    str, typer.Argument(help="MODULE:FACTORY, as my_net.py:MyNet; or a model of the zoo.")
]
InputSize = Annotated[
    Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
    typer.Option("--input", help="Channels, height and width of its input, as 3x224x224."),
]
DataDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", help="Folder of the data set. Default: $EDGEARK_DATA, then the cache."),
]
WeightsFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--weights", help="A safetensors file. Default: the weights that ship."),
]
Int8Flag = Annotated[bool, typer.Option("--int8", help="Quantise as well, where the target can.")]
AlgorithmOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--calibration", help="How int8 ranges are chosen: normal, mmse ... (rknn)."),
]
CalibrationCount = Annotated[
    int, typer.Option("--calibration-count", min=1, help="Training pictures to choose them by.")
]
MixedFlag = Annotated[
    bool, typer.Option("--mixed", help="Keep layers that int8 ruins in 16 bits (rknn).")
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--limit", min=1, help="At most this many test pictures."),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=1, help="Exports at a time; timings are right with 1 alone.")
]
TargetNames = Annotated[
    str, typer.Option("--to", help="Targets, comma-separated, or groups: all, cpu, npu, mcu.")
]
PythonOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--toolkit-python",
        help="A Python with RKNN-Toolkit 1.7 (rknn1) or TensorRT: runs what is written.",
    ),
]
ProgramOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--pplnn", help="PPLNN's program, for pplnn: runs the export. Default: that on PATH."
    ),
]
OfflineFlag = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]


def quantization_of(count: int, algorithm: str | None, mixed: bool) -> Quantization:
    """What those options say of int8."""
    from ..export.quantization import Quantization

    return Quantization(count, algorithm, mixed)
