"""Sophgo's TPUs by TPU-MLIR: int8 and 16 bits, proven on the wheel's simulators of the chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from ...graph.files import Graph, GraphError
from ...graph.module_names import ModuleNames
from ...graph.onnx_files import fold_sizes
from ...graph.onnx_passes import count_macs
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, Limits, Placement, Precision, RunResult
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, read_placement, write_placement
from ...targets.untrusted import UNTRUSTED_BYTES
from ...toolchains import Toolchain, ToolchainError
from .report import MlirTextError, parse_placement
from .rules import rules

HERE = Path(__file__).resolve().parent

TOOLCHAIN = Toolchain(
    "tpu-mlir",
    home=HERE,
    packages=("tpu-mlir",),
    python=">=3.10,<3.11",
    download_mb=345,
    setup_file="mend.py",
)
_OPSET = 15  # the last that PyTorch's TorchScript exporter writes
_LAST_OPSET = 17  # of what that cannot write; 18 moves axes of sums and means into an input
_NETWORK = "source/model.onnx"
_TABLE = "source/calibration_table"
_PLACEMENT = "source/placement.json"
_DEVICE_BYTES = 5 * 2**30  # a simulator reserves the chip's memory, most of which nobody touches
_DEFAULTS = {"detection": "percentile"}  # the least squared error clips its rare scores
_MODES = {"float32": "F32", "float16": "F16", "int8": "INT8"}
_BOARD = BoardRuntime(HERE / "board", input_type="uint8", normalized_by="model")


class TpuMlir(IsolatedTarget):
    """The file takes raw pixels, uint8 ``[1, C, H, W]``, and normalises by itself.

    int8 ranges are chosen here and written into the compiler's table: its own calibration takes
    minutes for a network of YOLOv5n's size, and its default loses 25 dB on ``mnist_kpu``.
    """

    group = "npu"
    evidence = Evidence.SIMULATED
    normalization = "in the model"
    toolchain = TOOLCHAIN
    algorithms = ("mse", "percentile", "minmax")
    simulated_macs: ClassVar[dict[str, float]]  # some ten minutes on one core, by chip

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def convert(self, job: Conversion) -> Artifact:
        spec, out = job.graph.spec, job.out
        (out / "source").mkdir(exist_ok=True)
        network = name_by_modules(fold_sizes(onnx.load(_write_onnx(job.graph))))
        onnx.save(network, out / _NETWORK)
        file = f"model.{self.suffix}"
        settings = {
            **job.normalization,
            "shape": list(spec.input_shape),
            "mode": self.mode(job.precision),
            "algorithm": job.quantization.algorithm or _DEFAULTS.get(spec.task, self.algorithms[0]),
            "output_shapes": [list(shape) for shape in job.graph.output_shapes],
        }
        arguments: dict[str, Any] = {
            "settings": settings,
            "network": str(out / _NETWORK),
            "chip": self.chip,
            "table": str(out / _TABLE),
            "out": str(out / file),
        }
        values, _ = self.call("convert", arguments, job.arrays, log=job.log)
        try:
            modules = ModuleNames(out / _NETWORK)
            placement = parse_placement(values["final"], modules.find)
        except MlirTextError as error:
            raise ToolchainError(
                f"tpu-mlir: {error}; log: {job.log}", stage="placement", log=job.log
            ) from error
        write_placement(placement, out / _PLACEMENT)
        settings["outputs"] = values["outputs"]
        settings["macs"] = sum(count_macs(network).values())
        sources = (_NETWORK, _PLACEMENT, *((_TABLE,) if job.precision == "int8" else ()))
        return Artifact(self.full_name, job.precision, out, (file,), settings, sources)

    @property
    def suffix(self) -> str:
        """Of the file that the chip's runtime loads."""
        return "bmodel"

    def mode(self, precision: Precision) -> str:
        """What the compiler calls a precision."""
        return _MODES[precision]

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        return self._run_worker(artifact, images, log, UNTRUSTED_BYTES + _DEVICE_BYTES)

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def reproduction_source(self, job: Conversion) -> Path | None:
        return job.out / _NETWORK

    def max_images(self, artifact: Artifact) -> int:
        most = self.simulated_macs[self.chip or ""]
        most /= 1 if artifact.precision == "int8" else 3
        return max(1, round(most / max(artifact.settings["macs"], 1)))


class Cvitek(TpuMlir):
    """float16 is bfloat16 here, the only other type that these chips compute in.

    cv180x and cv181x are on Milk-V Duo, MaixCAM and reCamera. The cv184x has another TPU, whose
    file is a bmodel as those of the BM168x.
    """

    name = "cvitek"
    description = "Sophgo CV18xx by TPU-MLIR, TPU simulator"
    precisions = ("float16", "int8")
    chips = ("cv181x", "cv180x", "cv183x", "cv184x")
    simulated_macs: ClassVar[dict[str, float]] = dict.fromkeys(chips, 200e9)

    def __init__(self, chip: str | None = None) -> None:
        super().__init__(chip)
        if self.suffix == "cvimodel":
            self.board = _BOARD  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def suffix(self) -> str:
        return "bmodel" if self.chip == "cv184x" else "cvimodel"

    def mode(self, precision: Precision) -> str:
        return "BF16" if precision == "float16" else super().mode(precision)

    def limits(self, precision: Precision) -> Limits:
        """bfloat16 has 8 bits, float16 has 11."""
        if precision == "float16":
            return Limits(sqnr_db=30.0, metric_drop=0.001)
        return super().limits(precision)


class Sophgo(TpuMlir):
    """The BM168x of servers and boxes."""

    name = "sophgo"
    description = "Sophgo BM168x by TPU-MLIR, TPU simulator"
    precisions = ("float32", "float16", "int8")
    chips = ("bm1684x", "bm1688")
    simulated_macs: ClassVar[dict[str, float]] = {"bm1684x": 20e9, "bm1688": 60e9}


def name_by_modules(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same, with the TorchScript exporter's names as the other exporter has them.

    That calls an operator of ``blocks.0.conv`` ``/blocks/blocks.0/conv/Conv``. An activation takes
    the name of the layer into which the compiler fuses it.
    """
    layers: dict[str, str] = {}  # modules of the values that a convolution or the like computes
    for node in network.graph.node:
        if not node.name.startswith("/"):
            continue
        path: list[str] = []
        for part in node.name.split("/")[1:-1]:
            is_child = path and part.startswith(f"{path[-1]}.")
            path[-1 if is_child else len(path) :] = [part]
        module = ".".join(path)
        if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            layers |= dict.fromkeys(node.output, module)
        elif node.op_type in ("Relu", "Clip", "LeakyRelu", "PRelu"):
            module = layers.get(node.input[0], module)
        node.name = f"{module}/{node.op_type}"
    return network


def _write_onnx(graph: Graph) -> Path:
    """The network in a file of an opset that the compiler reads."""
    try:
        return graph.onnx(_OPSET)
    except GraphError as error:
        try:
            return graph.onnx(_LAST_OPSET)
        except GraphError:
            raise error from None
