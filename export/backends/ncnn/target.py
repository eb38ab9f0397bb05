"""ncnn on the CPU: float32 and float16, by way of pnnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....errors import EdgearkError
from ...graph.files import Graph
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget
from ...toolchains import Toolchain, ToolchainError
from .rules import rules

HERE = Path(__file__).resolve().parent

_FILES = ("model.ncnn.param", "model.ncnn.bin")


class Ncnn(IsolatedTarget):
    """float16 halves the weights; ncnn computes in it where the processor can."""

    name = "ncnn"
    description = "ncnn, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "float16")
    no_int8 = "ncnn2table and ncnn2int8, which make it, are in no wheel"
    normalization = "substract_mean_normalize"
    toolchain = Toolchain(
        "ncnn", home=HERE, packages=("ncnn", "pnnx"), python=">=3.10", download_mb=39
    )
    board = BoardRuntime(HERE / "board")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def reproduction_source(self, job: Conversion) -> Path | None:
        return job.graph.torchscript()

    def convert(self, job: Conversion) -> Artifact:
        spec = job.graph.spec
        names = self._convert(job)
        settings = {
            "pixel_type": "PIXEL_GRAY" if spec.in_channels == 1 else "PIXEL_RGB",
            "mean_vals": list(spec.mean),
            "norm_vals": [1 / value for value in spec.std],
            "shapes": [list(shape[1:]) for shape in job.graph.output_shapes],
            **names,
        }
        return Artifact(self.full_name, job.precision, job.out, _FILES, settings)

    def _convert(self, job: Conversion) -> dict[str, Any]:
        """Of the trace, or where that computes sizes, which pnnx cannot, of one with numbers."""
        try:
            return self._write(job, job.graph)
        except ToolchainError as error:
            try:
                return self._write(job, job.graph.with_sizes_as_numbers())
            except EdgearkError:
                raise error from None

    def _write(self, job: Conversion, graph: Graph) -> dict[str, Any]:
        """The names of the input and the outputs."""
        arguments = {
            "torchscript": str(graph.torchscript()),
            "shape": list(job.graph.spec.input_shape),
            "fp16": job.precision == "float16",
            "out": str(job.out),
        }
        names, _ = self.call("convert", arguments, log=job.log)
        return names
