"""Kendryte's K210 by edgeark's own compiler: a kmodel v3, which every MaixPy v1 loads."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ... import __version__
from ..folding import fold_normalization
from ..kpu import Simulator, describe, read_kmodel, write_kmodel
from ..kpu.compile import Compiled, compile_kmodel
from ..kpu.layer import MAIN_BYTES, ROW_BYTES, KpuTensor
from ..target import Artifact, Conversion, Evidence, Placement, RunResult, Target
from .isolated import read_placement, write_placement
from .nncase_report import count_macs

logger = logging.getLogger(__name__)

_OPSET = 11
_ARTIFACT = "model.kmodel"
_PLACEMENT = "source/placement.json"
_SIMULATED_MACS = 1000e9  # some 10 minutes on one core


class K210(Target):
    """Int8 only; run in edgeark's simulator, which no board has confirmed.

    The KPU takes raw pixels, so the normalisation goes into the network, into the first convolution
    wherever that is possible (``export/kpu/lower.py``).
    """

    name = "k210"
    description = "Kendryte K210 by edgeark's compiler, kmodel v3, simulator"
    evidence = Evidence.MODELLED
    precisions = ("int8",)
    normalization = "in the model"

    def versions(self) -> dict[str, str]:
        return {"edgeark": __version__}

    def convert(self, job: Conversion) -> Artifact:
        assert job.calibration is not None
        spec, path = job.graph.spec, job.out / _ARTIFACT
        network = fold_normalization(onnx.load(job.graph.onnx(_OPSET)), spec.mean, spec.std)
        compiled = compile_kmodel(network, job.calibration)
        path.write_bytes(write_kmodel(compiled.kmodel))
        placement = _placement(compiled, count_macs(network))
        (job.out / _PLACEMENT).parent.mkdir(exist_ok=True)
        write_placement(placement, job.out / _PLACEMENT)
        main = path.stat().st_size + compiled.kmodel.main_bytes + prod(job.calibration.shape[1:])
        if main > MAIN_BYTES:
            logger.warning(
                "%s: the model with its working memory takes %.1f MiB of the chip's 6",
                self.full_name,
                main / 2**20,
            )
        settings = {
            **job.normalization,
            "main_memory_bytes": main,
            "kpu_memory_bytes": _kpu_peak(compiled),
            "output_shapes": [list(shape) for shape in compiled.output_shapes],
        }
        files, sources = (_ARTIFACT,), (_PLACEMENT,)
        return Artifact(self.full_name, job.precision, job.out, files, settings, sources)

    def run(self, artifact: Artifact, pictures: np.ndarray, log: Path) -> RunResult:
        """In batches; the time of a picture is its share of its batch's."""
        simulator = Simulator(read_kmodel(artifact.path.read_bytes()))
        parts, times = [], []
        for start in range(0, len(pictures), simulator.batch):
            batch, begin = pictures[start : start + simulator.batch], time.perf_counter()
            parts.append(simulator.run(batch))
            times.append((time.perf_counter() - begin) / len(batch))
        outputs = [
            np.concatenate(values).reshape(len(pictures), *shape)
            for values, shape in zip(
                zip(*parts, strict=True), artifact.settings["output_shapes"], strict=True
            )
        ]
        return RunResult(outputs, float(np.median(times)) * 1e3)

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def max_images(self, artifact: Artifact) -> int:
        kmodel = read_kmodel(artifact.path.read_bytes())
        macs = sum(layer.macs for layer in kmodel.layers)
        return max(1, round(_SIMULATED_MACS / max(macs, 1)))


def _placement(compiled: Compiled, macs: Mapping[str, int]) -> Placement:
    """MACs are the network's own: what stride 2 and 1x1 maps make the KPU compute is more."""
    left, rows = dict(macs), []
    costs = describe(compiled.kmodel)
    for name, cost in zip(compiled.names, costs, strict=True):
        counted = left.pop(name, 0)
        rows.append(
            {"name": name, "op": cost.kind, "target": cost.place, "macs": counted, "cycles": None}
        )
    on_cpu = tuple(f"{row['op']} ({row['name']})" for row in rows if row["target"] == "CPU")
    kpu_macs = _sum_macs(row for row in rows if row["target"] == "KPU")
    total = _sum_macs(rows)
    return Placement(
        npu_mac_fraction=kpu_macs / total if total else float(not on_cpu),
        cpu_ops=on_cpu,
        weights_bytes=sum(cost.constant_bytes for cost in costs),
        activation_bytes=compiled.kmodel.main_bytes + _kpu_peak(compiled),
        layers=tuple(rows),
    )


def _sum_macs(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["macs"] for row in rows)


def _kpu_peak(compiled: Compiled) -> int:
    """The end of the highest row that any layer reads or writes, in bytes."""
    tensors = [t for layer in compiled.kmodel.layers for t in (*layer.reads(), *layer.writes())]
    return ROW_BYTES * max((t.end for t in tensors if isinstance(t, KpuTensor)), default=0)
