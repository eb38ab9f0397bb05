"""LiteRT (once TensorFlow Lite) on the CPU: float32, and int8 in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, borrowed_packages
from ...toolchains import Toolchain
from .rules import rules

HERE = Path(__file__).resolve().parent

TOOLCHAIN = Toolchain(
    "litert",
    home=HERE,
    packages=("litert-torch", "ai-edge-litert", "ai-edge-quantizer", "ethos-u-vela"),
    python=">=3.10",
    download_mb=237,
    preloads=True,
)
_ARTIFACT = "model.tflite"


class LiteRt(IsolatedTarget):
    """Maps are NHWC, as phones and microcontrollers have them: input and four-dimensional outputs.

    Int8 files take and give int8: ``settings`` holds the scale and the zero point of each.
    """

    name = "litert"
    description = "LiteRT (TensorFlow Lite), CPU, NHWC"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "host"
    toolchain = TOOLCHAIN
    layout: ClassVar[str] = "NHWC"
    board = BoardRuntime(HERE / "board")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def convert(self, job: Conversion) -> Artifact:
        settings = self.write_tflite(job, _ARTIFACT, floats=True)
        return Artifact(self.full_name, job.precision, job.out, (_ARTIFACT,), settings)

    def write_tflite(self, job: Conversion, name: str, *, floats: bool = False) -> dict[str, Any]:
        """Write the file into ``job.out``; returns what is to be known to feed and to read it.

        With ``floats``, arithmetic that int8 would spoil stays in float32, which an NPU cannot run.
        """
        settings = {**job.normalization, "layout": self.layout}
        arguments = {
            "program": str(job.graph.program()),
            "out": str(job.out / name),
            "packages": borrowed_packages(TOOLCHAIN),
            "settings": settings,
            "floats": floats,
        }
        scales, _ = self.call("convert", arguments, job.arrays, log=job.log)
        return {**settings, **scales} if job.precision == "int8" else settings


class LiteRtNchw(LiteRt):
    """The network's own layout: TRANSPOSE operators in the file turn the maps."""

    name = "litert-nchw"
    description = "LiteRT (TensorFlow Lite), CPU, NCHW"
    excluded_from_groups = True
    layout = "NCHW"
