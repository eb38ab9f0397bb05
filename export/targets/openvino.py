"""OpenVINO on the CPU: float32, and int8 by NNCF's post-training quantisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..graph import Graph
from ..target import Artifact, Evidence, Precision
from ..toolchains import Toolchain
from .isolated import IsolatedTarget


class OpenVino(IsolatedTarget):
    """The IR takes raw uint8 pictures in NCHW: the normalisation is its first operators."""

    name = "openvino"
    description = "OpenVINO, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "in the model"
    toolchain = Toolchain(
        "openvino", packages=("openvino", "nncf"), python=">=3.10", download_mb=127
    )

    def convert(
        self,
        graph: Graph,
        precision: Precision,
        calibration: np.ndarray | None,
        out: Path,
        log: Path,
    ) -> Artifact:
        path = (out / "model.xml").resolve()
        arguments = {
            "onnx": str(graph.onnx(18).resolve()),
            "out": str(path),
            "settings": {"mean": list(graph.spec.mean), "std": list(graph.spec.std)},
        }
        arrays = {}
        if precision == "int8":
            assert calibration is not None
            arrays["pictures"] = calibration
        self.call("convert", arguments, arrays, log=log, timeout=1800)  # calibration takes long
        return Artifact(self.full_name, precision, out, ("model.xml", "model.bin"))
