"""A frozen TorchScript trace, run by libtorch: what Core ML, pnnx and old RKNN toolkits read."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...graph.torchscript_file import check_torchscript
from ...targets.base import (
    Artifact,
    Conversion,
    Evidence,
    RunResult,
    Target,
    run_one_by_one,
)
from ...toolchains.confine import can_confine


class TorchScript(Target):
    name = "torchscript"
    description = "TorchScript, CPU (libtorch)"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "host"
    takes_tensors = True

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def convert(self, job: Conversion) -> Artifact:
        path = job.out / "model.pt"
        shutil.copyfile(job.graph.torchscript(), path)
        return Artifact(self.full_name, job.precision, job.out, (path.name,), job.normalization)

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        return run_torchscript(artifact.path, images, artifact.settings)

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        check_torchscript(artifact.path, every_operator=can_confine())
        return super().run_untrusted(artifact, images, log)


@torch.inference_mode()
def run_torchscript(path: Path, images: np.ndarray, settings: Mapping[str, Any]) -> RunResult:
    """Run a TorchScript file on raw images; see :func:`run_one_by_one`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what these toolchains read
        module = torch.jit.load(str(path))

    def answer(*inputs: np.ndarray) -> list[np.ndarray]:
        outputs = module(*map(torch.from_numpy, inputs))
        tensors = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return [tensor.numpy() for tensor in tensors]

    with _one_thread():
        return run_one_by_one(answer, images, settings)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As every other engine here: several wait for each other at each layer of a small network."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
