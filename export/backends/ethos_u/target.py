"""Arm's Ethos-U by Vela: int8, compiled from the LiteRT file, which is run in its stead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from ...graph.onnx_passes import count_macs
from ...lint.rule import Rule
from ...results.folder import LOG
from ...targets.base import (
    Artifact,
    Conversion,
    Diagnostic,
    Evidence,
    Limits,
    Placement,
    Precision,
    RunResult,
)
from ...targets.isolated import WorkerTarget, read_placement, write_placement
from ..litert.target import LiteRt
from .rules import SMALL_CHIPS, U85_CHIPS, rules

_ARTIFACT, _SOURCE = "model.tflite", "source/model.tflite"
_PLACEMENT = "source/placement.json"


class EthosU(WorkerTarget):
    """No simulator of the NPU can be installed, so the evidence is ``compiled``.

    Vela compiles for a system that it assumes (``settings`` names it): the memory and the time that
    it estimates are that system's.
    """

    name = "ethos-u"
    description = "Arm Ethos-U by Vela, compiled alone"
    evidence = Evidence.COMPILED
    precisions = ("int8",)
    normalization = LiteRt.normalization
    toolchain = LiteRt.toolchain
    group = "mcu"
    chips = (*SMALL_CHIPS, *U85_CHIPS)

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def source_limits(self, precision: Precision) -> Limits:
        """What is compiled is int8 already."""
        return self.limits(precision)

    def convert(self, job: Conversion) -> Artifact:
        (job.out / _SOURCE).parent.mkdir(exist_ok=True)
        settings = LiteRt().write_tflite(job, _SOURCE)
        arguments = {
            "tflite": str(job.out / _SOURCE),
            "out": str(job.out / _ARTIFACT),
            "accelerator": f"ethos-{self.chip}",
        }
        report, _ = self.call("compile_for_npu", arguments, log=job.log)
        macs = sum(count_macs(onnx.load(job.graph.onnx_of_any_opset())).values())
        placement = parse_placement(report["layers"], report["summary"], macs)
        write_placement(placement, job.out / _PLACEMENT)
        assumed = {key: report["summary"][key] for key in ("system_config", "memory_mode")}
        diagnostics = ()
        if placement.cpu_ops:
            ops = ", ".join(placement.cpu_ops)
            diagnostics = (
                Diagnostic(f"the microcontroller computes what the NPU does not take: {ops}"),
            )
        return Artifact(
            target=self.full_name,
            precision=job.precision,
            folder=job.out,
            files=(_ARTIFACT,),
            settings={**settings, **assumed},
            sources=(_SOURCE, _PLACEMENT),
            diagnostics=diagnostics,
        )

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        return None

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        """The int8 file from which Vela compiled, on LiteRT."""
        source = replace(artifact, files=(_SOURCE,))
        return {_SOURCE: LiteRt().run(source, images, artifact.folder / LOG)}

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)


def parse_placement(
    rows: Sequence[Mapping[str, str]], summary: Mapping[str, str], macs: int
) -> Placement:
    """The placement of Vela's reports.

    The rows of one operator follow each other where Vela fuses; operators have numbers, since their
    names say nothing of the network's modules. Of what the CPU runs Vela counts no MACs.

    Args:
        rows: of ``*_per-layer.csv``.
        summary: the row of ``*_summary_*.csv``.
        macs: the whole network's, of its convolutions and matrix products.
    """
    layers = tuple(
        {
            "name": f"operator {index}",
            "op": row["Original Operator"],
            "target": row["Target"],
            "macs": int(row["MAC Count"]),
            "cycles": round(float(row["Op Cycles"])),
        }
        for index, row in enumerate(rows)
    )
    on_npu = sum(row["macs"] for row in layers if "Conv" in row["op"] or "Fully" in row["op"])
    on_cpu = tuple(f"{row['op']} ({row['name']})" for row in layers if row["target"] != "NPU")
    sram = round(1024 * float(summary["sram_memory_used"]))
    return Placement(
        npu_mac_fraction=min(1.0, on_npu / macs) if macs else float(not on_cpu),
        cpu_ops=on_cpu,
        weights_bytes=round(float(summary["total_npu_encoded_weights"])),
        activation_bytes=sram,
        layers=layers,
        estimated_ms=1e3 * float(summary["inference_time"]),
        memory={"SRAM": {"used": sram, "limit": round(float(summary["arena_cache_size"]))}},
    )
