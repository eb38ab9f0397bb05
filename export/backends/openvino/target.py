"""OpenVINO on the CPU: float32, float16 weights, and int8 by NNCF's post-training quantisation."""

from __future__ import annotations

from pathlib import Path

from ...lint.rule import Rule
from ...results.views import model_info
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget
from ...toolchains import Toolchain
from .rules import rules

HERE = Path(__file__).resolve().parent


class OpenVino(IsolatedTarget):
    """The IR takes raw uint8 images in NCHW: the normalisation is its first operators."""

    name = "openvino"
    description = "OpenVINO, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "float16", "int8")
    normalization = "in the model"
    takes_tensors = int8_takes_tensors = True
    toolchain = Toolchain(
        "openvino", home=HERE, packages=("openvino", "nncf"), python=">=3.10", download_mb=127
    )
    board = BoardRuntime(HERE / "board", input_type="uint8", normalized_by="model")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def reproduction_source(self, job: Conversion) -> Path | None:
        return job.graph.onnx(18)

    def convert(self, job: Conversion) -> Artifact:
        arguments = {
            "onnx": str(job.graph.onnx(18)),
            "out": str(job.out / "model.xml"),
            "settings": job.normalization,
            "half": job.precision == "float16",
            "model_info": model_info(job.graph.spec, job.graph.output_shapes, normalized=True),
        }
        self.call("convert", arguments, job.arrays, log=job.log)
        return Artifact(self.full_name, job.precision, job.out, ("model.xml", "model.bin"))
