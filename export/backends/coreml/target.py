"""Core ML: a model package that Apple's converter accepts. Nothing but macOS and iOS runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ...graph.files import INPUT_NAME
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, RunResult
from ...targets.isolated import WorkerTarget, borrowed_packages
from ...toolchains import Toolchain
from ..torchscript.target import run_torchscript
from .rules import rules

HERE = Path(__file__).resolve().parent

_ARTIFACT, _TRACE = "model.mlpackage", "source/model.pt"


class CoreMl(WorkerTarget):
    """Made of a TorchScript trace, which is run instead, in float32: the evidence is ``compiled``.

    The worker reads the package again, and demands the names and shapes that the network has.
    """

    name = "coreml"
    group = "npu"
    description = "Core ML (mlprogram), compiled alone"
    evidence = Evidence.COMPILED
    precisions = ("float32", "float16")
    normalization = "host"
    toolchain = Toolchain(
        "coreml", home=HERE, packages=("coremltools",), python=">=3.10", download_mb=27
    )

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def convert(self, job: Conversion) -> Artifact:
        trace = job.out / _TRACE
        trace.parent.mkdir(exist_ok=True)
        shutil.copyfile(job.graph.torchscript(frozen=False), trace)
        spec = job.graph.spec
        shapes = job.graph.output_shapes
        settings = {
            **job.normalization,
            "input": INPUT_NAME,
            "outputs": [f"output{index}" for index in range(len(shapes))],
        }
        arguments = {
            "trace": str(trace),
            "out": str(job.out / _ARTIFACT),
            "packages": borrowed_packages(self.toolchain),
            "precision": job.precision,
            "shape": list(spec.input_shape),
            "output_shapes": [list(shape) for shape in shapes],
            "settings": settings,
        }
        self.call("convert", arguments, log=job.log)
        files = (_ARTIFACT,)
        return Artifact(self.full_name, job.precision, job.out, files, settings, (_TRACE,))

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        return None

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        trace = artifact.folder / _TRACE
        return {_TRACE: run_torchscript(trace, images, artifact.settings)}
