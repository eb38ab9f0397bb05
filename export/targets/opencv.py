"""OpenCV's ``dnn`` module on the CPU, 4.x: float32 from ONNX."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ..graph import Graph
from ..target import Artifact, Evidence, Precision
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

    def convert(
        self,
        graph: Graph,
        precision: Precision,
        calibration: np.ndarray | None,
        out: Path,
        log: Path,
    ) -> Artifact:
        source, path = graph.onnx(18), out / "model.onnx"
        self.call("convert", {"onnx": str(source.resolve())}, log=log)
        shutil.copyfile(source, path)
        settings = {
            "mean": list(graph.spec.mean),
            "std": list(graph.spec.std),
            "outputs": output_names(source),
        }
        return Artifact(self.full_name, precision, out, (path.name,), settings)
