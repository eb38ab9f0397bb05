"""LiteRT on what digits do not show: colours, several outputs, layouts, resizing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from edgeark.export.results.manifest import write_manifest
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets.base import Precision
from edgeark.zoo import create_model, spec_of
from support.settled import SPEC, Heads, prove, settle
from support.target_base import installed_target


@pytest.mark.parametrize("name", ["litert", "litert-nchw"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_are_pytorchs_in_its_order(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = settle(Heads(), SPEC, tmp_path)
    target = installed_target(name)
    artifact, reference = prove(target, graph, precision, tmp_path)
    row = ExportResult(model="heads", target=name, precision=precision, status="ok")
    write_manifest(tmp_path, SPEC, target, artifact, reference, row)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    is_nchw = name == "litert-nchw"
    assert manifest["input"]["shape"] == ([1, 3, 24, 40] if is_nchw else [1, 24, 40, 3])
    assert manifest["outputs"][-1]["shape"] == ([1, 8, 24, 40] if is_nchw else [1, 24, 40, 8])
    assert manifest["outputs"][0]["shape"] == [1, 5]
    scales = manifest["settings"].get("outputs")
    assert (scales is None) == (precision == "float32")
    assert scales is None or (len(scales) == 12 and all(s["scale"] > 0 for s in scales))


@pytest.mark.parametrize(
    ("name", "precision"),
    [("unet_8", "float32"), ("unet_8", "int8"), ("yolov5n_relu", "float32")],
)
def test_the_zoos_other_tasks_agree(name: str, precision: Precision, tmp_path: Path) -> None:
    """Classifiers are in ``test_targets.py``; a random detector has no int8 to speak of."""
    torch.manual_seed(0)
    model = create_model(name, input_size=(64, 64))
    graph = settle(model, spec_of(model), tmp_path)
    prove(installed_target("litert"), graph, precision, tmp_path)
