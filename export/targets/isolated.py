"""A target whose converter and runtime live in a toolchain environment of their own.

What such targets share: the call into the worker, and the way in which images and outputs travel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import torch

from ..toolchains import TIMEOUT_S, Toolchain, ToolchainUnavailable, call
from .base import Artifact, Placement, RunResult, Target, to_result
from .untrusted import UNTRUSTED_BYTES


class WorkerTarget(Target):
    """Its converter is called through a worker; its runtime may be nowhere."""

    toolchain: ClassVar[Toolchain]  # pyright: ignore[reportIncompatibleVariableOverride]

    def versions(self) -> dict[str, str]:
        return self.toolchain.pinned_versions()

    def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
        *,
        log: Path,
        timeout: float = TIMEOUT_S,
        confined: bool = False,
        memory_bytes: int = 0,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The values and the arrays of a function of the worker; see :func:`toolchains.call`."""
        return call(
            *(self.toolchain, function, arguments, arrays),
            log=log,
            timeout=timeout,
            confined=confined,
            memory_bytes=memory_bytes,
        )


class IsolatedTarget(WorkerTarget):
    """Every image goes into one call of the worker, since a call starts a process.

    The worker's ``run(arguments, arrays)`` gets the artifact's ``folder``, ``files``, ``settings``,
    ``precision`` and ``chip``, and the array ``images`` (raw uint8 ``[N, C, H, W]``). It returns
    the value ``ms_per_image`` (the median) and the arrays ``output0``, ``output1`` ...,
    ``[N, ...]`` each, in the network's order.
    """

    def arguments(self, artifact: Artifact) -> dict[str, Any]:
        """What the worker is told of an artifact."""
        return {
            "folder": str(artifact.folder.resolve()),
            "files": list(artifact.files),
            "settings": dict(artifact.settings),
            "precision": artifact.precision,
            "chip": self.chip,
        }

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        return self._run_worker(artifact, images, log)

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        return self._run_worker(artifact, images, log, UNTRUSTED_BYTES)

    def _run_worker(
        self, artifact: Artifact, images: np.ndarray, log: Path, memory_bytes: int = 0
    ) -> RunResult:
        values, arrays = self.call(
            *("run", self.arguments(artifact), {"images": images}),
            log=log,
            timeout=TIMEOUT_S + len(images),
            confined=True,
            memory_bytes=memory_bytes,
        )
        return to_result(values, arrays)


def borrowed_packages(toolchain: Toolchain) -> str:
    """The folder of edgeark's own PyTorch: for Linux there is none of less than 3 GB to install.

    A worker appends it to ``sys.path``, so that what the toolchain has of its own comes first.

    Raises:
        ToolchainUnavailable: PyTorch's compiled parts are for another Python than the toolchain's.
    """
    there, here = toolchain.python_version(), sys.version_info[:2]
    if there != here:
        raise ToolchainUnavailable(
            f"{toolchain.name} needs edgeark on its own Python {there[0]}.{there[1]}, since it "
            f"borrows edgeark's PyTorch; this is {here[0]}.{here[1]}",
            stage="install",
        )
    return str(Path(torch.__file__).parents[1])


def output_names(path: Path) -> list[str]:
    """The outputs of an ONNX file in the network's order, which not every runtime keeps."""
    return [value.name for value in onnx.load(path).graph.output]


def write_placement(placement: Placement, path: Path) -> None:
    """Keep what only the conversion said, for :func:`read_placement`."""
    path.write_text(json.dumps(asdict(placement), indent=1) + "\n")


def read_placement(path: Path) -> Placement:
    """The placement that :func:`write_placement` kept."""
    fields = json.loads(path.read_text())
    return Placement(**{**fields, **{key: tuple(fields[key]) for key in ("cpu_ops", "layers")}})
