"""ExecuTorch with XNNPACK on the CPU: float32, and int8 by PyTorch's own quantisation (PT2E)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, borrowed_packages
from ...toolchains import Toolchain
from .rules import rules

HERE = Path(__file__).resolve().parent


class ExecuTorch(IsolatedTarget):
    """Float32 in and out; ``settings`` names the operators that XNNPACK does not take.

    Int8: weights per channel, activations over the range of all images.
    """

    name = "executorch"
    description = "ExecuTorch with XNNPACK, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "host"
    takes_tensors = int8_takes_tensors = True
    toolchain = Toolchain(
        "executorch",
        home=HERE,
        packages=("executorch", "torchao"),
        python=">=3.10,<3.15",
        download_mb=46,
        preloads=True,
    )
    board = BoardRuntime(HERE / "board")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def arguments(self, artifact: Artifact) -> dict[str, Any]:
        return {**super().arguments(artifact), "packages": borrowed_packages(self.toolchain)}

    def convert(self, job: Conversion) -> Artifact:
        files = ("model.pte",)
        artifact = Artifact(self.full_name, job.precision, job.out, files, job.normalization)
        arguments = {
            **self.arguments(artifact),
            "program": str(job.graph.program()),
            "out": str(artifact.path),
        }
        values, _ = self.call("convert", arguments, job.arrays, log=job.log)
        return replace(artifact, settings={**job.normalization, **values})
