"""Options that several commands share."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, get_type_hints

import typer

from ..core.catalog import require_network
from ..core.settings import trust_files
from ..errors import EdgearkError
from ..export.targets.names import require_targets

if TYPE_CHECKING:
    from ..export.request import NetworkRequest
    from ..export.targets.base import Quantization

Color = Literal["rgb", "bgr", "gray"]
Resize = Literal["stretch", "letterbox"]
PYTORCH = "pytorch"
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="FILE.py:FACTORY, package.module:FACTORY, timm:NAME, torchvision:NAME, an .onnx, a "
        "TorchScript .pt, a torch.export .pt2, or a model of the zoo.",
    ),
]
NetworkOrExport = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK_OR_EXPORT",
        help="An export's folder or a file in it; or a network, named as for export.",
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
    Optional[Color],  # noqa: UP045
    typer.Option("--color", help="Order of the image's channels. Default: rgb."),
]
ResizeOption = Annotated[
    Optional[Resize],  # noqa: UP045
    typer.Option(
        "--resize",
        help="How images get the input's size: stretched, or letterboxed (aspect kept, grey "
        "around). Default: the task's; stretch for a network of yours.",
    ),
]
MetricOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--metric", help="FILE.py:FUNCTION that scores raw outputs, 0 to 1."),
]
RewriteFlag = Annotated[
    bool, typer.Option("--rewrite", help="First replace what the targets lack by what is equal.")
]
SpecOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--spec",
        help="A spec.toml: task, classes, dataset, mean, std, color, strides, anchors ...",
    ),
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
    bool,
    typer.Option(
        "--mixed-precision",
        help="Keep layers that int8 ruins in 16 bits (rknn; qnn: all activations).",
    ),
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--limit", min=1, help="At most this many test images, an equal share of each class."
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=1,
        help="Exports at a time, fewer where less than 4 GiB of memory are free for each; timings "
        "are right with 1 alone.",
    ),
]
RayOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Run on a Ray cluster (edgeark[ray]): local starts one here, auto is the one that "
        "runs here, or HOST:PORT, ray://HOST:PORT. Workers need the same files.",
    ),
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


# What every command takes that takes a network, in the order of its help.
_ABOUT_NETWORK: dict[str, tuple[Any, Any]] = {
    "input_shape": (InputShapeOption, None),
    "mean": (MeanOption, None),
    "std": (StdOption, None),
    "color": (ColorOption, None),
    "resize": (ResizeOption, None),
    "spec": (SpecOption, None),
    "weights": (WeightsFile, None),
    "pretrained": (PretrainedFlag, False),
}
# And where it is measured.
_ABOUT_SAMPLES: dict[str, tuple[Any, Any]] = {
    "images": (ImagesOption, None),
    "metric": (MetricOption, None),
    "data": (DataDir, None),
}
_Command = Callable[..., Any]


def takes_network(
    *, samples: bool = False, named: Any = NetworkName, default: Any = inspect.Parameter.empty
) -> Callable[[_Command], _Command]:
    """Command decorator: the network's argument and options in place of a :class:`NetworkRequest`.

    The command has a parameter ``request``. What is mistyped is said before PyTorch is imported.

    Args:
        samples: with the options that say what a network is measured on.
        named: the argument; None where the command names networks by an option of its own.
        default: of the argument; it is required unless given.
    """
    options = _ABOUT_NETWORK | (_ABOUT_SAMPLES if samples else {})

    def decorate(command: _Command) -> _Command:
        def run(**given: Any) -> Any:
            said = {name: given.pop(name) for name in options}
            network = given.pop("network", "")
            for each in filter(None, [network, *given.get("networks", ())]):
                require_network(each)
            targets = [t for t in (given.get("to") or "").split(",") if t.strip() != PYTORCH]
            if any(targets):
                require_targets(targets)
            return command(request=_make_request(network, **said), **given)

        own = inspect.signature(command).parameters.values()
        command.__annotations__.pop("request")
        hints = get_type_hints(command, include_extras=True)
        wanted: dict[str, tuple[Any, Any]] = {} if named is None else {"network": (named, default)}
        wanted |= {p.name: (hints[p.name], p.default) for p in own if p.name in hints}
        last = {"json": wanted.pop("json")}
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=hint)
                for name, (hint, d) in (wanted | options | last).items()
            ]
        )
        run.__name__, run.__doc__, run.__annotations__ = command.__name__, command.__doc__, {}
        return run

    return decorate


def _make_request(
    network: str,
    *,
    input_shape: str | None,
    mean: str | None,
    std: str | None,
    color: Color | None,
    resize: Resize | None,
    spec: Path | None,
    **rest: Any,
) -> NetworkRequest:
    from ..export.request import NetworkRequest
    from ..export.sources import InputOptions, read_spec

    inputs = InputOptions(
        shapes=input_shape, mean=numbers(mean), std=numbers(std), color=color, resize=resize
    )
    return NetworkRequest(network, inputs if spec is None else read_spec(spec, inputs), **rest)


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
