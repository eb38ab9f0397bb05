"""MNN on the CPU: float32, float16 weights, and int8 calibrated on images."""

from __future__ import annotations

from pathlib import Path

import onnx

from ...graph.onnx_passes import pool_means, round_weights
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, output_names
from ...toolchains import Toolchain
from .broadcasting import write_out_broadcasts
from .flips import gather_flips
from .rules import rules

HERE = Path(__file__).resolve().parent


class Mnn(IsolatedTarget):
    """int8: convolutions, pools, sums and resizes; sigmoid and its like stay in float."""

    name = "mnn"
    description = "MNN, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "float16", "int8")
    normalization = "ImageProcess"
    takes_tensors = True
    toolchain = Toolchain("mnn", home=HERE, packages=("mnn",), python=">=3.10", download_mb=35)
    board = BoardRuntime(HERE / "board")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def reproduction_source(self, job: Conversion) -> Path | None:
        """int8's ranges are chosen by edgeark."""
        return None if job.precision == "int8" else _fixed(job)

    def convert(self, job: Conversion) -> Artifact:
        source, path = job.graph.onnx(18), job.out / "model.mnn"
        names = {"inputs": list(job.graph.spec.input_names), "outputs": output_names(source)}
        settings = {**job.normalization, **names}
        fixed, is_half = _fixed(job), job.precision == "float16"
        network = gather_flips(write_out_broadcasts(pool_means(onnx.load(source))))
        onnx.save(round_weights(network) if is_half else network, fixed)
        arguments = {"onnx": str(fixed), "out": str(path), "settings": settings, "half": is_half}
        self.call("convert", arguments, job.arrays, log=job.log)
        return Artifact(self.full_name, job.precision, job.out, (path.name,), settings)


def _fixed(job: Conversion) -> Path:
    """The file that MNN's converter reads."""
    return job.graph.onnx(18).with_stem(f"mnn-{job.precision}")
