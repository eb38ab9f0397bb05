"""Kendryte's K210 by nncase 1.9: int8, proven on nncase's own simulator of the chip."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from ..folding import fold_normalization
from ..kpu.layer import KPU_ROWS, MAIN_BYTES, ROW_BYTES
from ..lint import nncase as lint
from ..lint.rule import Rule
from ..target import Artifact, Conversion, Evidence, Limits, Placement, Precision, RunResult
from ..toolchains import Hint, Toolchain, ToolchainError
from .isolated import CALIBRATION_TIMEOUT_S, IsolatedTarget, read_placement, write_placement
from .nncase_report import NncaseReportError, parse_placement

logger = logging.getLogger(__name__)

_OPSET = 11
_ARTIFACT = "model.kmodel"
_ONNX = "source/model.onnx"
_PLACEMENT = "source/placement.json"
_WHITE = 255  # nncase takes a raw pixel as a share of it
_SIMULATED_MACS = 500e9  # some 10 minutes on two cores
_PART = 250  # pictures that are worth a process
_HINTS = (
    Hint(r"(?m)^unsupported type: ", "nncase reads no computed padding: pad inside convolutions"),
    Hint(
        "Can't pull input data for", "nncase resizes by a factor alone: give scale_factor, no size"
    ),
    Hint(r"Emitter for .* is not found", "the K210 cannot compute this operator"),
)


class Nncase(IsolatedTarget):
    """The file is a kmodel v5; MaixPy v1 loads v3 and v4 only.

    The KPU takes raw pixels, so the normalisation goes into the network: see
    :func:`fold_normalization`. nncase can do it too, but in float on the CPU and on the whole
    picture, which on 64x64 pixels costs 96 kB of memory and changes the SQNR by less than 1 dB.
    The pixels are in 0..1, not in 0..255: weights of an output channel that span less than about
    0.01 get too coarse a scale in nncase, and dividing by 255 made weights so small (16 dB lost).

    Activation ranges are those seen (``no_clip``): 39 dB on ``mnist_kpu`` and 34 dB on ``mnist``.
    ``l2`` gives 37 and 34 dB and takes five to ten times as long, ``kld_m2`` gives 39 and 14 dB;
    top-1 is the same to 0.03 points with all three.
    """

    name = "k210-nncase"
    group = "mcu"
    is_choosy = True
    description = "Kendryte K210 by nncase, KPU simulator"
    evidence = Evidence.SIMULATED
    precisions = ("int8",)
    normalization = "in the model"
    toolchain = Toolchain(
        "nncase", packages=("nncase",), python=">=3.9,<3.11", download_mb=28, hints=_HINTS
    )
    run_timeout_s = 3600

    def rules(self) -> tuple[Rule, ...]:
        return lint.RULES

    def limits(self, precision: Precision) -> Limits:
        """Its rounding costs more than others': 4 dB beside ``k210`` on ``vgg_kpu``."""
        return Limits(metric_drop=0.01)

    def convert(self, job: Conversion) -> Artifact:
        out, path, spec = job.out, job.out / _ARTIFACT, job.graph.spec
        mean, std = ([value / _WHITE for value in values] for values in (spec.mean, spec.std))
        network = fold_normalization(onnx.load(job.graph.onnx(_OPSET)), mean, std)
        (out / _ONNX).parent.mkdir(exist_ok=True)
        onnx.save(network, out / _ONNX)
        arguments = {"onnx": str(out / _ONNX), "out": str(path)}
        values, _ = self.call(
            "convert", arguments, job.arrays, log=job.log, timeout=CALIBRATION_TIMEOUT_S
        )
        try:
            placement, memory = parse_placement(values["operators"], path.read_bytes(), network)
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
        sources = (_ONNX, _PLACEMENT)
        return Artifact(self.full_name, job.precision, out, (_ARTIFACT,), settings, sources)

    def run(self, artifact: Artifact, pictures: np.ndarray, log: Path) -> RunResult:
        """On all cores: the simulator uses one, and takes 1.3 ms for a million MACs."""
        count = max(1, min(_cores(), len(pictures) // _PART))
        with ThreadPoolExecutor(count) as pool:
            simulate = super().run
            parts = np.array_split(pictures, count)
            results = list(pool.map(lambda part: simulate(artifact, part, log), parts))
        outputs = zip(*(result.outputs for result in results), strict=True)
        ms_per_image = float(np.median([result.ms_per_image for result in results]))
        return RunResult([np.concatenate(output) for output in outputs], ms_per_image)

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def max_images(self, artifact: Artifact) -> int:
        macs = sum(layer["macs"] for layer in self.placement(artifact).layers)
        return round(_SIMULATED_MACS / max(macs, 1))


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
