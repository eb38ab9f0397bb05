"""LiteRT on what digits do not show: colours, several outputs, layouts, resizing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.bundle import write_manifest
from edgeark.export.graph import Graph
from edgeark.export.target import Artifact, Conversion, Precision, Target
from edgeark.export.verify import compare
from edgeark.zoo import create_model, model_entry
from target_base import installed_target
from torch import Tensor, nn

SPEC = replace(
    model_entry("mnist").spec,
    input_size=(24, 40),
    color="rgb",
    mean=(123.7, 16.3, 203.5),
    std=(58.4, 27.1, 99.4),
)


class Heads(nn.Module):
    """Twelve outputs, of which ``output_10`` comes before ``output_2`` in the alphabet.

    Two of them are no maps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU())
        self.heads = nn.ModuleList([nn.Conv2d(8, 13 - i, 3, stride=4) for i in range(9)])
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        mean = x.mean((2, 3))
        wide = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        return (self.linear(mean), *(head(x) for head in self.heads), mean, wide)


def make_pictures(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Patches of colour with a little noise: noise alone would drown in any network's mean."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    patches = rng.uniform(0, 255, (count, channels, height // 8, width // 8))
    pictures = patches.repeat(8, axis=2).repeat(8, axis=3)
    return np.clip(pictures + rng.normal(0, 10, pictures.shape), 0, 255).astype(np.uint8)


def prove(
    target: Target, graph: Graph, precision: Precision, out: Path
) -> tuple[Artifact, list[np.ndarray]]:
    """The artifact, and PyTorch's answers to pictures on which it agrees with them."""
    shape = graph.spec.input_shape[1:]
    calibration = make_pictures(32, shape, seed=1) if precision == "int8" else None
    artifact = target.convert(Conversion(graph, precision, out, out / "log.txt", calibration))
    pictures = make_pictures(6, shape, seed=0)
    result, reference = target.run(artifact, pictures, out / "log.txt"), graph.reference(pictures)
    assert result is not None
    parity = compare(reference, result.outputs)  # the shapes too
    if precision == "float32":
        assert parity.max_abs_error < 1e-4
    else:
        assert 15 < parity.sqnr_db < 60
    return artifact, reference


def settle(model: nn.Module, graph: Graph) -> None:
    """Set the statistics of every BatchNorm: signals keep their size through the layers."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()
    pictures = make_pictures(32, graph.spec.input_shape[1:], seed=2)
    with torch.no_grad():
        model(torch.from_numpy((pictures - 127.5) / 73.0).float())
    model.eval()


@pytest.mark.parametrize("name", ["litert", "litert-nchw"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_are_pytorchs_in_its_order(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Heads()
    graph = Graph(model, SPEC, tmp_path)
    settle(model, graph)
    target = installed_target(name)
    artifact, reference = prove(target, graph, precision, tmp_path)
    write_manifest(tmp_path, "heads", SPEC, target, artifact, reference, {})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    is_nchw = name == "litert-nchw"
    assert manifest["input"]["shape"] == ([1, 3, 24, 40] if is_nchw else [1, 24, 40, 3])
    assert manifest["outputs"][-1]["shape"] == ([1, 8, 24, 40] if is_nchw else [1, 24, 40, 8])
    assert manifest["outputs"][0]["shape"] == [1, 5]
    scales = manifest["settings"].get("outputs")
    assert (scales is None) == (precision == "float32")
    assert scales is None or (len(scales) == 12 and all(s["scale"] > 0 for s in scales))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["unet_8", "yolov5n_relu"])
def test_the_zoos_other_tasks_agree(name: str, precision: Precision, tmp_path: Path) -> None:
    """Classifiers are in ``test_targets.py``."""
    torch.manual_seed(0)
    model = create_model(name, input_size=(64, 64))
    graph = Graph(model, model.spec, tmp_path)
    settle(model, graph)
    prove(installed_target("litert"), graph, precision, tmp_path)
