"""Kendryte's K210 by nncase 1.9: int8, proven on nncase's own simulator of the chip.

There are two ways in: ONNX, and TFLite, by which the articles on this chip go.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ...graph.files import Graph
from ...graph.fold_normalization import fold_normalization
from ...graph.onnx_files import fold_sizes
from ...graph.onnx_passes import count_macs
from ...kpu.layer import KPU_ROWS, MAIN_BYTES, ROW_BYTES
from ...lint.rule import Rule
from ...targets.base import (
    Artifact,
    Conversion,
    Evidence,
    Limits,
    Placement,
    Precision,
    RunResult,
)
from ...targets.isolated import IsolatedTarget, read_placement, write_placement
from ...toolchains import Hint, Toolchain, ToolchainError
from ..litert.target import LiteRtNchw
from .report import NncaseReportError, parse_placement
from .rules import rules
from .rules_tflite import rules as tflite_rules
from .tflite_names import TfliteNames, count_tflite_macs

HERE = Path(__file__).resolve().parent

logger = logging.getLogger(__name__)

_OPSET = 11
_ARTIFACT = "model.kmodel"
_PLACEMENT = "source/placement.json"
_WHITE = 255  # nncase takes a raw pixel as a share of it
_SIMULATED_MACS = 500e9  # some 10 minutes on two cores
_PART = 250  # images that are worth a process
_HINTS = (
    Hint(r"Emitter for .* is not found", "the K210 cannot compute this operator"),
    Hint("Unsupported tflite opcode", "nncase does not read this operator: try k210-nncase"),
)


class Nncase(IsolatedTarget):
    """The file is a kmodel v5; MaixPy v1 loads v3 and v4 only.

    The KPU takes raw pixels, so the normalisation goes into the network: see
    :func:`fold_normalization`. nncase can do it too, but in float on the CPU and on the whole
    image, which on 64x64 pixels costs 96 kB of memory and changes the SQNR by less than 1 dB.
    The pixels are in 0..1, not in 0..255: weights of an output channel that span less than about
    0.01 get too coarse a scale in nncase, and dividing by 255 made weights so small (16 dB lost).

    Activation ranges are those seen (``no_clip``): 39 dB on ``mnist_kpu`` and 34 dB on ``mnist``.
    ``l2`` gives 37 and 34 dB and takes five to ten times as long, ``kld_m2`` gives 39 and 14 dB;
    top-1 is the same to 0.03 points with all three.
    """

    name = "k210-nncase"
    group = "mcu"
    opt_in = True
    description = "Kendryte K210 by nncase, KPU simulator"
    evidence = Evidence.SIMULATED
    precisions = ("int8",)
    normalization = "in the model"
    toolchain = Toolchain(
        "nncase",
        home=HERE,
        packages=("nncase",),
        python=">=3.9,<3.11",
        download_mb=28,
        hints=_HINTS,
    )
    _network = "source/model.onnx"

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def limits(self, precision: Precision) -> Limits:
        """Its rounding costs more than others': 4 dB beside ``k210`` on ``vgg_kpu``."""
        return Limits(metric_drop=0.01)

    def convert(self, job: Conversion) -> Artifact:
        out, path, network = job.out, job.out / _ARTIFACT, job.out / self._network
        network.parent.mkdir(exist_ok=True)
        macs, rename = self._write_network(job, network)
        arguments = {"network": str(network), "out": str(path)}
        values, _ = self.call("convert", arguments, job.arrays, log=job.log)
        try:
            placement, memory = parse_placement(
                values["operators"], path.read_bytes(), macs, rename
            )
        except NncaseReportError as error:
            raise ToolchainError(
                f"nncase: {error}; log: {job.log}", stage="placement", log=job.log
            ) from error
        main_memory = path.stat().st_size + memory.main
        memories = {
            "KPU memory": {"used": memory.kpu, "limit": KPU_ROWS * ROW_BYTES},
            "main memory": {"used": main_memory, "limit": MAIN_BYTES},
        }
        write_placement(replace(placement, memory=memories), out / _PLACEMENT)
        if main_memory > MAIN_BYTES:
            logger.warning(
                "%s: the model with its working memory takes %.1f MiB of the chip's 6",
                self.full_name,
                main_memory / 2**20,
            )
        settings = {
            **job.normalization,
            "main_memory_bytes": main_memory,
            "kpu_memory_bytes": memory.kpu,
        }
        sources = (self._network, _PLACEMENT)
        return Artifact(self.full_name, job.precision, out, (_ARTIFACT,), settings, sources)

    def _write_network(
        self, job: Conversion, path: Path
    ) -> tuple[dict[str, int], Callable[[str], str]]:
        """Write what nncase reads: it takes images as a share of white.

        Returns:
            Its multiplications, by the names that nncase lists, and what to call those names.
        """
        mean, std = _shares_of_white(job.graph)
        exported = fold_sizes(onnx.load(job.graph.onnx(_OPSET)))
        network = fold_normalization(exported, mean, std)
        onnx.save(network, path)
        return count_macs(network), str

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        """On all cores: the simulator uses one, and takes 1.3 ms for a million MACs."""
        count = max(1, min(_cores(), len(images) // _PART))
        with ThreadPoolExecutor(count) as pool:
            simulate = super().run
            parts = np.array_split(images, count)
            results = list(pool.map(lambda part: simulate(artifact, part, log), parts))
        outputs = zip(*(result.outputs for result in results), strict=True)
        ms_per_image = float(np.median([result.ms_per_image for result in results]))
        return RunResult([np.concatenate(output) for output in outputs], ms_per_image)

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def max_images(self, artifact: Artifact) -> int:
        macs = sum(layer["macs"] for layer in self.placement(artifact).layers)
        return round(_SIMULATED_MACS / max(macs, 1))


class NncaseTflite(Nncase):
    """By litert-torch's float32 file, which nncase quantises; of an int8 one it dies.

    nncase computes bilinear resizing rightly here, and grouped convolutions wrongly. Files with
    NCHW and with NHWC input become the same kmodel, as long as nncase is told which; the former
    needs no care for outputs that are no maps.

    What normalises is a 1x1 convolution in front of the network, on the KPU: in the ONNX file it
    often goes into the first layer, which saves that layer and no decibel.
    """

    name = "k210-nncase-tflite"
    excluded_from_groups = True
    description = "Kendryte K210 by nncase from TFLite, KPU simulator"
    source_toolchain = LiteRtNchw.toolchain
    _network = "source/model.tflite"

    def rules(self) -> tuple[Rule, ...]:
        return tflite_rules.of()

    def versions(self) -> dict[str, str]:
        return {**super().versions(), **LiteRtNchw().versions()}

    def _write_network(
        self, job: Conversion, path: Path
    ) -> tuple[dict[str, int], Callable[[str], str]]:
        graph, litert = _normalizing(job.graph), LiteRtNchw()
        in_float = Conversion(graph, "float32", job.out, job.log)
        litert.write_tflite(in_float, self._network)
        listed, _ = litert.call("list_operators", {"tflite": str(path)}, log=job.log)
        names, before = TfliteNames(graph.model), "" if graph is job.graph else "network."
        macs = count_tflite_macs(listed["operators"])
        return macs, lambda name: names.find(name).removeprefix(before)


class _Normalizing(nn.Module):
    """``[1, C, H, W]`` in shares of white, as the spec has it, then the network."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.normalize = nn.Conv2d(len(mean), len(mean), 1)
        scale = 1 / torch.tensor(std)
        self.normalize.weight.data = scale.diag()[:, :, None, None]
        self.normalize.bias = nn.Parameter(-torch.tensor(mean) * scale)
        self.network = network

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.network(self.normalize(x))


def _normalizing(graph: Graph) -> Graph:
    """That of the network which normalises by itself; its own where there is nothing to do."""
    mean, std = _shares_of_white(graph)
    if not any(mean) and all(value == 1 for value in std):
        return graph
    return graph.variant("normalizing", _Normalizing(graph.model, mean, std))


def _shares_of_white(graph: Graph) -> tuple[list[float], list[float]]:
    """The spec's mean and deviation, where pixels are 0..1."""
    spec = graph.spec
    return [value / _WHITE for value in spec.mean], [value / _WHITE for value in spec.std]


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
