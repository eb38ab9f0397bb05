"""Kendryte's K210 by edgeark's own compiler: a kmodel v3, which every MaixPy v1 loads."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .... import __version__
from ....core.files import read_file
from ...graph.fold_normalization import fold_normalization
from ...graph.onnx_files import fold_sizes
from ...graph.onnx_passes import count_macs
from ...kpu import Simulator, read_kmodel, write_kmodel
from ...kpu.budget import Budget, budget, budget_markdown
from ...kpu.compiler.compile import compile_kmodel
from ...kpu.timing import CYCLES_PER_MS
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, Placement, RunResult, Target
from ...targets.board import Bundle
from ...targets.isolated import read_placement, write_placement
from .rules import rules

logger = logging.getLogger(__name__)

_OPSET = 11
_ARTIFACT = "model.kmodel"
_PLACEMENT = "source/placement.json"
_BUDGET = "budget.md"
_SIMULATED_MACS = 1000e9  # some 10 minutes on one core


class K210(Target):
    """Int8 only; run in edgeark's simulator, which no board has confirmed.

    The KPU takes raw pixels, so the normalisation goes into the network, into the first convolution
    wherever that is possible (``export/kpu/compiler/lower.py``).
    """

    name = "k210"
    group = "mcu"
    opt_in = True
    description = "Kendryte K210 by edgeark's compiler, kmodel v3, simulator"
    evidence = Evidence.MODELLED
    precisions = ("int8",)
    normalization = "in the model"

    def versions(self) -> dict[str, str]:
        return {"edgeark": __version__}

    def write_bundle(self, export: Path, out: Path) -> Bundle:
        """For MaixPy v1, whose Python runs on the chip itself."""
        from .maixpy import write_maixpy_bundle

        found = write_maixpy_bundle(export, out)
        sizes = {"kmodel_bytes": found.kmodel_bytes, "main_bytes": found.main_bytes}
        return Bundle(found.folder, found.files, sizes)

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def convert(self, job: Conversion) -> Artifact:
        assert job.calibration is not None
        spec, path = job.graph.spec, job.out / _ARTIFACT
        exported = fold_sizes(onnx.load(job.graph.onnx(_OPSET)))
        network = fold_normalization(exported, spec.mean, spec.std)
        compiled = compile_kmodel(network, job.calibration)
        path.write_bytes(write_kmodel(compiled.kmodel))
        found = budget(compiled.kmodel, path.stat().st_size, compiled.names)
        (job.out / _PLACEMENT).parent.mkdir(exist_ok=True)
        write_placement(_placement(found, count_macs(network)), job.out / _PLACEMENT)
        (job.out / _BUDGET).write_text(budget_markdown("The network", found))
        for problem in found.problems():
            logger.warning("%s: %s", self.full_name, problem)
        settings = {
            **job.normalization,
            "main_memory_bytes": found.main_bytes,
            "kpu_memory_bytes": found.kpu_bytes,
            "estimated_ms": round(found.estimated_ms, 2),
            "output_shapes": [list(shape) for shape in compiled.output_shapes],
        }
        files, sources = (_ARTIFACT,), (_PLACEMENT, _BUDGET)
        return Artifact(self.full_name, job.precision, job.out, files, settings, sources)

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        """In batches; the time of an image is its share of its batch's."""
        simulator = Simulator(read_kmodel(read_file(artifact.path)))
        parts, times = [], []
        for start in range(0, len(images), simulator.batch):
            batch, begin = images[start : start + simulator.batch], time.perf_counter()
            parts.append(simulator.run(batch))
            times.append((time.perf_counter() - begin) / len(batch))
        # A bundle's kmodel has one output, end to end: MaixPy reads no more.
        flat = [
            np.concatenate(values).reshape(len(images), -1) for values in zip(*parts, strict=True)
        ]
        shapes = [tuple(shape) for shape in artifact.settings["output_shapes"]]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        pieces = np.split(np.concatenate(flat, axis=1), ends[:-1], axis=1)
        outputs = [
            piece.reshape(len(images), *shape) for piece, shape in zip(pieces, shapes, strict=True)
        ]
        return RunResult(outputs, float(np.median(times)) * 1e3)

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        """In this process: the simulator is Python, and checks every size and address."""
        return self.run(artifact, images, log)

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def max_images(self, artifact: Artifact) -> int:
        kmodel = read_kmodel(artifact.path.read_bytes())
        macs = sum(layer.macs for layer in kmodel.layers)
        return max(1, round(_SIMULATED_MACS / max(macs, 1)))


def _placement(found: Budget, macs: Mapping[str, int]) -> Placement:
    """MACs are the network's own: what stride 2 and 1x1 maps make the KPU compute is more."""
    computed: Counter[str] = Counter()
    for name, cost in zip(found.names, found.layers, strict=True):
        computed[name] += cost.macs
    rows = [
        {
            "name": name,
            "op": cost.kind,
            "target": cost.place,
            # Layers of one name are parts of one node.
            "macs": macs.get(name, 0) * cost.macs // max(computed[name], 1),
            "cycles": round(cost.ms * CYCLES_PER_MS),
        }
        for name, cost in zip(found.names, found.layers, strict=True)
    ]
    on_cpu = tuple(f"{row['op']} ({row['name']})" for row in rows if row["target"] == "CPU")
    kpu_macs = _sum_macs(row for row in rows if row["target"] == "KPU")
    total = _sum_macs(rows)
    return Placement(
        npu_mac_fraction=kpu_macs / total if total else float(not on_cpu),
        cpu_ops=on_cpu,
        weights_bytes=sum(cost.constant_bytes for cost in found.layers),
        activation_bytes=found.working_bytes + found.kpu_bytes,
        layers=tuple(rows),
        estimated_ms=round(found.estimated_ms, 2),
        memory=found.memory,
    )


def _sum_macs(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["macs"] for row in rows)
