"""Small untrained networks whose signals keep their size, and images to run them on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Artifact, Conversion, Precision, Target
from edgeark.zoo import ModelSpec, model_entry
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


def make_images(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Patches of colour with a little noise: noise alone would drown in any network's mean."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    patches = rng.uniform(0, 255, (count, channels, -(-height // 8), -(-width // 8)))
    images = patches.repeat(8, axis=2).repeat(8, axis=3)[..., :height, :width]
    return np.clip(images + rng.normal(0, 10, images.shape), 0, 255).astype(np.uint8)


def prove(
    target: Target, graph: Graph, precision: Precision, out: Path
) -> tuple[Artifact, list[np.ndarray]]:
    """The artifact, and PyTorch's answers to images on which it agrees with them."""
    shape = graph.spec.input_shape[1:]
    calibration = make_images(32, shape, seed=1) if precision == "int8" else None
    artifact = target.convert(Conversion(graph, precision, out, out / "log.txt", calibration))
    images = make_images(6, shape, seed=0)
    result, reference = target.run(artifact, images, out / "log.txt"), graph.reference(images)
    assert result is not None
    parity = compare(reference, result.outputs)  # the shapes too
    if precision == "float32":
        assert parity.max_abs_error < 1e-4 * max(1, parity.peak)
        assert parity.sqnr_db > 75
    else:
        assert 12 < parity.sqnr_db < 60  # a wrong kernel is far below
    return artifact, reference


def settle(model: nn.Module, spec: ModelSpec, folder: Path) -> Graph:
    """The graph of the network once the statistics of every BatchNorm are set."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()
    images = make_images(32, spec.input_shape[1:], seed=2)
    with torch.no_grad():
        model(torch.from_numpy((images - 127.5) / 73.0).float())
    return Graph(model, spec, folder)
