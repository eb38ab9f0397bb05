"""OpenCV's ``dnn`` module on the CPU, 4.x: float32 from ONNX."""

from __future__ import annotations

from ..lint.opencv import RULES
from ..lint.rule import Rule
from ..target import Artifact, Conversion, Evidence
from ..toolchains import Toolchain
from .isolated import IsolatedTarget, output_names


class OpenCv(IsolatedTarget):
    name = "opencv"
    description = "OpenCV DNN 4.x, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "blobFromImage"
    toolchain = Toolchain(
        "opencv", packages=("opencv-python-headless",), python=">=3.10", download_mb=79
    )

    def rules(self) -> tuple[Rule, ...]:
        return RULES

    def convert(self, job: Conversion) -> Artifact:
        source, path = job.graph.onnx(18), job.out / "model.onnx"
        settings = {**job.normalization, "outputs": output_names(source)}
        arguments = {"onnx": str(source), "out": str(path), "settings": settings}
        self.call("convert", arguments, log=job.log)
        return Artifact(self.full_name, job.precision, job.out, (path.name,), settings)


class OpenCv5(OpenCv):
    name = "opencv5"
    description = "OpenCV DNN 5.x, CPU"
    toolchain = Toolchain(
        "opencv5",
        packages=("opencv-python-headless",),
        python=">=3.10",
        download_mb=79,
        worker_of="opencv",
    )
