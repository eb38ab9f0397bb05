"""ONNX Runtime on the CPU, in edgeark's own environment: float32, and static int8 (QDQ)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ....core.settings import NO_TELEMETRY
from ....zoo.tasks.images import network_inputs
from ...graph.onnx_passes import multiply_by_constants, separate_group_biases
from ...graph.onnx_session import open_session
from ...graph.optimize import optimize_graph
from ...lint.rule import Rule
from ...targets.base import (
    Artifact,
    Conversion,
    Evidence,
    RunResult,
    Target,
    run_one_by_one,
    to_result,
)
from ...targets.board import BoardRuntime
from ...targets.untrusted import call_own_worker
from ...toolchains import ToolchainError
from .rules import rules

HERE = Path(__file__).resolve().parent
SESSION = HERE / "board" / "onnxruntime_session.h"
Configure = Callable[[Path, Any], Any]
"""Makes a ``StaticQuantConfig`` of a prepared file and a ``CalibrationDataReader``."""


class OnnxRuntime(Target):
    """Float32, and int8 as QDQ with uint8 activations and uint8 weights, per channel.

    With int8 weights (u8s8) the sums of products saturate on x86 processors without VNNI: a
    VGG loses 40 points of accuracy there. With uint8 weights it is right on all of them.
    """

    name = "onnxruntime"
    description = "ONNX Runtime, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "host"
    takes_tensors = int8_takes_tensors = True
    board = BoardRuntime(HERE / "board", headers=(SESSION,))

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": version("onnxruntime")}

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def convert(self, job: Conversion) -> Artifact:
        return convert_onnx(self.full_name, job)

    def reproduction_source(self, job: Conversion) -> Path | None:
        return None if job.calibration is None else job.graph.onnx_of_any_opset()

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        with _stage("run", log):
            return run_onnx(artifact.path, images, artifact.settings)

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        """By a worker that needs no PyTorch, whose import takes longer than the network."""
        inputs = network_inputs(images, artifact.settings["mean"], artifact.settings["std"])
        arrays = {f"input{index}": each for index, each in enumerate(inputs)}
        model = {"model": str(artifact.path.resolve())}
        return to_result(*call_own_worker(self.name, HERE, model, arrays, log))


def convert_onnx(target: str, job: Conversion) -> Artifact:
    """The file that ONNX Runtime runs, here or in a browser: float32, or static int8 (QDQ)."""
    source, path = job.graph.onnx_of_any_opset(), job.out / "model.onnx"
    if job.calibration is None:
        onnx.save(optimize_graph(onnx.load(source)), path)
    else:
        inputs = network_inputs(job.calibration, **job.normalization)
        quantize(source, path, inputs, job.log, affine_qdq)
    return Artifact(target, job.precision, job.out, (path.name,), job.normalization)


def run_onnx(path: Path, images: np.ndarray, settings: Mapping[str, Any]) -> RunResult:
    """Run an ONNX file on raw images; see :func:`run_one_by_one`."""
    session = open_session(path)
    names = [entry.name for entry in session.get_inputs()]

    def answer(*inputs: np.ndarray) -> list[np.ndarray]:
        return list(map(np.asarray, session.run(None, dict(zip(names, inputs, strict=True)))))

    return run_one_by_one(answer, images, settings)


def quantize(
    source: Path,
    path: Path,
    inputs: Sequence[np.ndarray],
    log: Path,
    configure: Configure,
) -> None:
    """Post-training static quantisation of an ONNX file with calibration inputs, ``[N, ...]`` each.

    ``configure`` says how: :func:`affine_qdq`, :func:`symmetric_qdq` or another of its kind.
    """
    os.environ.update(NO_TELEMETRY)
    from onnxruntime import quantization as quantizer
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantizer.CalibrationDataReader):
        def __init__(self) -> None:
            self._samples = iter(zip(*inputs, strict=True))

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            sample = next(self._samples, None)
            if sample is None:
                return None
            return {name: value[None] for name, value in zip(names, sample, strict=True)}

    names = [entry.name for entry in onnx.load(source, load_external_data=False).graph.input]
    prepared = path.with_name("prepared.onnx")
    with _stage("int8 quantisation", log):
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            proto = multiply_by_constants(onnx.load(prepared))
            onnx.save(separate_group_biases(proto), prepared)
            config = configure(prepared, Reader())
            quantizer.quantize(str(prepared), str(path), config)
        finally:
            prepared.unlink(missing_ok=True)


def affine_qdq(prepared: Path, reader: Any) -> Any:
    """8 bits with zero points and int32 biases, weights per channel: for ONNX Runtime's CPU."""
    return _qdq(reader, is_symmetric=False)


def symmetric_qdq(prepared: Path, reader: Any) -> Any:
    """Int8 around 0 and float biases: for runtimes with neither zero points nor int32 biases."""
    return _qdq(reader, is_symmetric=True)


def _qdq(reader: Any, *, is_symmetric: bool) -> Any:
    from onnxruntime.quantization import QuantType, StaticQuantConfig

    kind = QuantType.QInt8 if is_symmetric else QuantType.QUInt8
    return StaticQuantConfig(
        reader,
        per_channel=True,
        activation_type=kind,
        weight_type=kind,
        extra_options={"ActivationSymmetric": is_symmetric, "QuantizeBias": not is_symmetric},
    )


_KNOWN = (RuntimeError, ValueError, TypeError, NotImplementedError)


@contextlib.contextmanager
def _stage(stage: str, log: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        is_own = type(error).__module__.startswith("onnxruntime")  # they derive from Exception
        if not is_own and not isinstance(error, _KNOWN):
            raise
        log.write_text(f"{stage}: {error!r}\n")
        raise ToolchainError(
            f"onnxruntime: {stage} failed: {error}", stage=stage, log=log
        ) from error
