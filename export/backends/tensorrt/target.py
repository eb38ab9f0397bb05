"""NVIDIA's TensorRT: an ONNX file that says its own precision, a command line and a script.

An engine is built on the GPU that runs it, so the evidence is ``generated`` and the file is proven
on ONNX Runtime. Where a Python has TensorRT and a GPU is there, the script is run: ``executed``.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx

from ....zoo.spec import name_of
from ....zoo.tasks.images import network_inputs
from ...lint import onnx_file
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, Limits, Precision, RunResult
from ...targets.isolated import output_names
from ...targets.runner import call_runner, require_own_runner, write_runner
from ...targets.tool_target import ToolTarget
from ...targets.tools import ExternalTool
from ..onnxruntime.target import quantize, run_onnx, symmetric_qdq

_OPSET = 17
_MODEL = "model.onnx"
_FORMS = {
    "float32": "float32",
    "float16": "float16 inside, float32 at input and outputs",
    "int8": "QuantizeLinear and DequantizeLinear around what is computed in int8",
}


class TensorRt(ToolTarget):
    """TensorRT 11 has networks of strong types alone, and 10 knows them: the file has the types.

    So float16 is a float16 file, and int8 one with QuantizeLinear and DequantizeLinear, symmetric,
    since TensorRT has no zero points, with biases left in float, since it has no int32 ones.
    """

    name = "tensorrt"
    description = "NVIDIA TensorRT, GPU, script and network"
    evidence = Evidence.GENERATED
    precisions = ("float32", "float16", "int8")
    normalization = "host"
    group = "npu"
    external_tool = ExternalTool("tensorrt", "a Python with TensorRT", module="tensorrt")

    def rules(self) -> tuple[Rule, ...]:
        return onnx_file.rules.of()

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__}

    def convert(self, job: Conversion) -> Artifact:
        source, path, spec = job.graph.onnx(_OPSET), job.out / _MODEL, job.graph.spec
        if job.calibration is not None:
            inputs = network_inputs(job.calibration, **job.normalization)
            quantize(source, path, inputs, job.log, symmetric_qdq)
        elif job.precision == "float16":
            onnx.save(_halve(onnx.load(source)), path)
        else:
            shutil.copyfile(source, path)
        shapes = (shape[1:] for shape in job.graph.output_shapes)
        outputs = list(zip(output_names(path), shapes, strict=True))
        words = {"precision": job.precision, "form": _FORMS[job.precision]}
        name = name_of(job.graph.model)
        kit = write_runner(job.out, self.name, name, spec, outputs, **words)
        files = (_MODEL, *kit)
        return Artifact(self.full_name, job.precision, job.out, files, job.normalization)

    def find_tool(self) -> Path | None:
        return super().find_tool() or _own_python()

    def run_tool(
        self, tool: Path, artifact: Artifact, images: np.ndarray, log: Path, *, confined: bool
    ) -> RunResult | None:
        return call_runner(
            *(artifact.folder, self.name, images, []),
            log=log,
            python=tool,
            with_gpu=True,
            confined=confined,
        )

    def require_own_scripts(self, folder: Path) -> None:
        require_own_runner(folder, self.name)

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        """The ONNX file on ONNX Runtime, on the CPU."""
        return {_MODEL: run_onnx(artifact.folder / _MODEL, images, artifact.settings)}

    def source_limits(self, precision: Precision) -> Limits:
        return self.limits(precision)

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        return Evidence.GENERATED if result is None else Evidence.EXECUTED


def _own_python() -> Path | None:
    """This one, where it has TensorRT and the machine a GPU."""
    has_packages = all(importlib.util.find_spec(name) for name in ("tensorrt", "cuda"))
    return Path(sys.executable) if has_packages and shutil.which("nvidia-smi") else None


def _halve(proto: onnx.ModelProto) -> onnx.ModelProto:
    """In float16, but for its input and outputs, and the factors of a Resize.

    onnxruntime names the casts of those after the factors: where two nodes share them, there are
    two casts of one name. So each gets its own first.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for index, node in enumerate(n for n in proto.graph.node if n.op_type == "Resize"):
        own = onnx.TensorProto()
        own.CopyFrom(constants[node.input[2]])
        own.name = node.input[2] = f"{own.name}_{index}"
        proto.graph.initializer.append(own)
    return convert_float_to_float16(proto, keep_io_types=True)
