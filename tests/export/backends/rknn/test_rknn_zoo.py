"""The zoo's networks on Rockchip's NPUs: no operator on the CPU. Weights play no part in that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.zoo import create_model, spec_of
from support.target_base import installed_target
from support.zoo_cases import small

_MODELS: dict[str, dict[str, Any]] = {
    "mnist": {},
    "mnist_kpu": {},
    "vgg_s": {},
    "mobilenet_v1_025": small("mobilenet_v1_025"),
    "unet_8": small("unet_8"),
    "unet_16": {"input_size": (64, 64)},
    "yolov5n": {"input_size": (96, 96)},
}


@pytest.fixture(scope="module", params=_MODELS)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    installed_target("rknn:rk3588")
    torch.manual_seed(0)
    model = create_model(request.param, **_MODELS[request.param])
    return Graph(model, spec_of(model), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("chip", ["rk3588", "rk3566", "rv1106"])
def test_everything_runs_on_the_npu(
    graph: Graph, chip: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    images = rng.integers(0, 256, (2, *graph.spec.input_shape[1:]), dtype=np.uint8)
    target = find_target(f"rknn:{chip}")
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images)
    artifact = target.convert(job)
    placement = target.placement(artifact)
    assert placement is not None
    assert placement.cpu_ops == ()
    assert placement.npu_mac_fraction == 1.0
    assert [diagnostic.words for diagnostic in artifact.diagnostics] == []
    modules = {name for name, _ in graph.model.named_modules()}
    assert {layer["module"] for layer in placement.layers} <= modules
