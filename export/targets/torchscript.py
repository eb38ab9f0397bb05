"""A frozen TorchScript trace, run by libtorch: what Core ML, pnnx and old RKNN toolkits read."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from ..target import Artifact, Conversion, Evidence, RunResult, Target, median_ms
from .onnxruntime import scale


class TorchScript(Target):
    name = "torchscript"
    description = "TorchScript, CPU (libtorch)"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "host"

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def convert(self, job: Conversion) -> Artifact:
        path = job.out / "model.pt"
        shutil.copyfile(job.graph.torchscript(), path)
        return Artifact(self.full_name, job.precision, job.out, (path.name,), job.normalization)

    @torch.inference_mode()
    def run(self, artifact: Artifact, pictures: np.ndarray, log: Path) -> RunResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still what these toolchains read
            module = torch.jit.load(str(artifact.path))
        parts, seconds = [], []
        for picture in pictures:
            x = torch.from_numpy(
                scale(picture[None], artifact.settings["mean"], artifact.settings["std"])
            )
            start = time.perf_counter()
            answer = module(x)
            seconds.append(time.perf_counter() - start)
            parts.append(answer if isinstance(answer, (tuple, list)) else (answer,))
        outputs = [torch.cat(values).numpy() for values in zip(*parts, strict=True)]
        return RunResult(outputs, median_ms(seconds))
