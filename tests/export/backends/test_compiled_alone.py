"""Core ML and Ethos-U: nothing here runs them, so what is handed over is held against PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.ethos_u.target import parse_placement
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Evidence
from support.settled import SPEC, Heads, make_images, settle
from support.target_base import installed_target, prepared
from torch import Tensor, nn


@pytest.fixture(scope="module")
def mnist() -> EvalContext:
    return prepared("mnist")


def test_core_ml_is_compiled_and_no_more(mnist: EvalContext, tmp_path: Path) -> None:
    target = installed_target("coreml")
    sizes = {}
    for precision in target.supported_precisions():
        row = export_one(mnist, target, precision, tmp_path)
        assert row.status == "ok", row.message
        assert row.evidence == "compiled" and "compiled: no runtime" in row.message
        assert row.metric is None and row.max_abs_error is None and row.run_ms is None
        (source,) = row.source_results
        assert source.file == "source/model.pt" and source.max_abs_error < 1e-4
        assert row.artifact is not None and row.artifact.is_dir()
        files = json.loads((row.artifact.parent / "manifest.json").read_text())["files"]
        names = [file["name"] for file in files]
        assert "model.mlpackage/Manifest.json" in names and len(names) == 3
        assert row.size_bytes == sum((row.artifact.parent / n).stat().st_size for n in names)
        sizes[precision] = row.size_bytes
    assert 1.9 < sizes["float32"] / sizes["float16"] < 2.1


def test_core_ml_keeps_the_order_of_outputs(tmp_path: Path) -> None:
    """The worker compares names and shapes, of which no two are alike here."""
    graph = settle(Heads(), SPEC, tmp_path)
    target = installed_target("coreml")
    artifact = target.convert(Conversion(graph, "float16", tmp_path, tmp_path / "log.txt"))
    assert artifact.settings["outputs"] == [f"output{index}" for index in range(12)]


def test_ethos_u_is_compiled_from_what_litert_ran(mnist: EvalContext, tmp_path: Path) -> None:
    target = installed_target("ethos-u:u55-128")
    assert target.evidence is Evidence.COMPILED and target.supported_precisions() == ("int8",)
    row = export_one(mnist, target, "int8", tmp_path)
    assert row.status == "ok", row.message
    assert row.evidence == "compiled" and "source/model.tflite" in row.message
    (source,) = row.source_results
    assert source.metric.value > 0.8 and source.max_abs_error > 1e-4
    assert row.placement is not None and row.placement.npu_mac_fraction == 1.0
    assert row.placement.cpu_ops == () and row.placement.estimated_ms
    assert row.placement.weights_bytes and row.placement.activation_bytes


class Sine(nn.Module):
    """Vela leaves a sine to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.sin(self.first(x)))


def test_what_vela_leaves_to_the_cpu_is_said(tmp_path: Path) -> None:
    graph = settle(Sine(), SPEC, tmp_path)
    target = installed_target("ethos-u:u85-256")
    calibration = make_images(8, SPEC.input_shape[1:], seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", calibration)
    artifact = target.convert(job)
    placement = target.placement(artifact)
    assert placement is not None and any("Sin" in op for op in placement.cpu_ops)
    assert placement.npu_mac_fraction == 1.0
    (diagnostic,) = artifact.diagnostics
    assert "Sin" in diagnostic.words and not diagnostic.fatal


def test_macs_of_the_cpu_are_not_the_npus() -> None:
    """Vela counts none for what it leaves alone."""
    row = {"Original Operator": "Conv2D", "Target": "NPU", "MAC Count": "300", "Op Cycles": "9.0"}
    rows = [row, {**row, "Target": "CPU", "MAC Count": "0"}]
    summary = {
        "sram_memory_used": "2.5",
        "total_npu_encoded_weights": "7",
        "inference_time": "0.001",
        "arena_cache_size": "4096.0",
    }
    placement = parse_placement(rows, summary, 1200)
    assert placement.npu_mac_fraction == 0.25
    assert placement.cpu_ops == ("Conv2D (operator 1)",)
    assert placement.memory == {"SRAM": {"used": 2560, "limit": 4096}}
    assert placement.estimated_ms == pytest.approx(1.0)
    assert np.isclose(placement.activation_bytes or 0, 2560)


def test_chips_are_velas() -> None:
    assert find_target("ethos-u:u65-512").full_name == "ethos-u:u65-512"
