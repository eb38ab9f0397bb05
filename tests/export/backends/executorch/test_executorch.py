"""ExecuTorch on several outputs, the zoo's other tasks, and what XNNPACK does not take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.lint import check
from edgeark.export.targets.base import Precision
from edgeark.zoo import create_model, spec_of
from support.settled import SPEC, Heads, prove, settle
from support.target_base import installed_target
from torch import nn


def test_outputs_are_pytorchs_in_its_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = settle(Heads(), SPEC, tmp_path)
    prove(installed_target("executorch"), graph, "int8", tmp_path)


@pytest.mark.parametrize(("name", "precision"), [("unet_8", "int8"), ("yolov5n_relu", "float32")])
def test_the_zoos_other_tasks_agree(name: str, precision: Precision, tmp_path: Path) -> None:
    """Classifiers are in ``test_targets.py``."""
    torch.manual_seed(0)
    model = create_model(name, input_size=(64, 64))
    graph = settle(model, spec_of(model), tmp_path)
    prove(installed_target("executorch"), graph, precision, tmp_path)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_nearest_resizing_is_not_xnnpacks(mode: str, tmp_path: Path) -> None:
    target = installed_target("executorch")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode=mode))
    graph = settle(network, SPEC, tmp_path)
    artifact, _ = prove(target, graph, "float32", tmp_path)
    portable = any("nearest" in name for name in artifact.settings["portable_ops"])
    found = check(graph.network, target.rules(), target.full_name)
    assert [finding.rule for finding in found] == (["portable-resize"] if portable else [])
    assert portable == (mode == "nearest")
