"""OpenCV's ``dnn`` module on the CPU, 4.x: float32 from ONNX."""

from __future__ import annotations

import shutil

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

    def convert(self, job: Conversion) -> Artifact:
        source, path = job.graph.onnx(18), job.out / "model.onnx"
        self.call("convert", {"onnx": str(source)}, log=job.log)
        shutil.copyfile(source, path)
        settings = {**job.normalization, "outputs": output_names(source)}
        return Artifact(self.full_name, job.precision, job.out, (path.name,), settings)
