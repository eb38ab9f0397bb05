"""MNN on the CPU: float32, and int8 calibrated on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..graph import INPUT_NAME, Graph
from ..target import Artifact, Evidence, Precision
from ..toolchains import Toolchain
from .isolated import IsolatedTarget, output_names


class Mnn(IsolatedTarget):
    """int8: convolutions, pools, sums and resizes; sigmoid and its like stay in float."""

    name = "mnn"
    description = "MNN, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "ImageProcess"
    toolchain = Toolchain("mnn", packages=("mnn",), python=">=3.10", download_mb=35)

    def convert(
        self,
        graph: Graph,
        precision: Precision,
        calibration: np.ndarray | None,
        out: Path,
        log: Path,
    ) -> Artifact:
        source, path = graph.onnx(18).resolve(), (out / "model.mnn").resolve()
        settings = {
            "mean": list(graph.spec.mean),
            "std": list(graph.spec.std),
            "input": INPUT_NAME,
            "outputs": output_names(source),
        }
        arguments = {"onnx": str(source), "out": str(path), "settings": settings}
        arrays = {}
        if precision == "int8":
            assert calibration is not None
            arrays["pictures"] = calibration
        self.call("convert", arguments, arrays, log=log, timeout=1800)  # calibration takes long
        return Artifact(self.full_name, precision, out, (path.name,), settings)
