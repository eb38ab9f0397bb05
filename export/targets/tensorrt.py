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

from ...zoo.registry import name_of
from ...zoo.tasks.pictures import normalize
from ..bundles.runner import call_runner, write_runner
from ..graph import INPUT_NAME
from ..target import (
    Artifact,
    Conversion,
    Evidence,
    Limits,
    Precision,
    RunResult,
    Target,
    run_one_by_one,
)
from .isolated import output_names
from .onnxruntime import make_session, quantize

_OPSET = 17
_MODEL = "model.onnx"
_FORMS = {
    "float32": "float32",
    "float16": "float16 inside, float32 at input and outputs",
    "int8": "QuantizeLinear and DequantizeLinear around what is computed in int8",
}


class TensorRt(Target):
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
    takes_python = True

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__}

    def convert(self, job: Conversion) -> Artifact:
        source, path, spec = job.graph.onnx(_OPSET), job.out / _MODEL, job.graph.spec
        if job.calibration is not None:
            inputs = normalize(job.calibration, **job.normalization)
            quantize(source, path, inputs, job.log, symmetric=True)
        elif job.precision == "float16":
            onnx.save(_halve(onnx.load(source)), path)
        else:
            shutil.copyfile(source, path)
        answers = job.graph.reference(np.zeros(spec.input_shape, np.uint8))
        names = output_names(path)
        outputs = [(name, a.shape[1:]) for name, a in zip(names, answers, strict=True)]
        words = {"precision": job.precision, "form": _FORMS[job.precision]}
        name = name_of(job.graph.model)
        kit = write_runner(job.out, self.name, name, spec, outputs, **words)
        files = (_MODEL, *kit)
        return Artifact(self.full_name, job.precision, job.out, files, job.normalization)

    def run(self, artifact: Artifact, pictures: np.ndarray, log: Path) -> RunResult | None:
        python = self.toolkit_python or _own_python()
        if python is None:
            return None
        return call_runner(
            *(artifact.folder, self.name, pictures, []),
            log=log,
            timeout=1800,
            python=python,
            with_gpu=True,
        )

    def run_sources(self, artifact: Artifact, pictures: np.ndarray) -> dict[str, RunResult]:
        """The ONNX file on ONNX Runtime, on the CPU."""
        session = make_session(artifact.folder / _MODEL)
        result = run_one_by_one(
            lambda x: session.run(None, {INPUT_NAME: x}), pictures, artifact.settings
        )
        return {_MODEL: result}

    def source_limits(self, precision: Precision) -> Limits:
        return self.limits(precision)

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        return Evidence.GENERATED if result is None else Evidence.EXECUTED


def _own_python() -> Path | None:
    """This one, where it has TensorRT and the machine a GPU."""
    has_packages = all(importlib.util.find_spec(name) for name in ("tensorrt", "cuda"))
    return Path(sys.executable) if has_packages and shutil.which("nvidia-smi") else None


def _halve(proto: onnx.ModelProto) -> onnx.ModelProto:
    """In float16, but for its input and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(proto, keep_io_types=True)
