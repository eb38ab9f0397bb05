"""The loss of each layer: a target that computes one layer wrongly is found out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.probes import measure_layers
from edgeark.export.sources import InputOptions, open_source
from edgeark.export.sources.samples import noise_samples
from edgeark.export.targets.base import LayerError
from torch import Tensor, nn


class Net(nn.Module):
    """A residual block with an activation in place, a view, and outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.body = nn.Conv2d(8, 8, 3, 1, 1)
        self.recurrent, self.head = nn.LSTM(64, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        x = torch.relu_(self.body(x) + x)
        states, _ = self.recurrent(x.flatten(2))
        return {"classes": self.head(states.mean(1)), "map": x.flatten(2)}


def wrong_in_body(graph: Graph, samples: np.ndarray) -> list[np.ndarray]:
    """A target whose filters of one layer are 5 % too large."""
    weight = graph.model.get_parameter("network.body.weight")
    with torch.no_grad():
        weight *= 1.05
        answers = graph.reference(samples, batch=1)
        weight /= 1.05
    return answers


def measure(folder: Path, most_outputs: int = 99) -> list[LayerError]:
    source = open_source(Net(), InputOptions(shapes="3x16x16"))
    samples = noise_samples(source.spec, 3)

    def answer(graph: Graph) -> Sequence[np.ndarray]:
        outputs = graph.reference(samples, batch=1)
        if len(outputs) > most_outputs:
            raise EdgearkError(f"{len(outputs)} outputs are too many")
        has_body = any(name == "network.body.weight" for name, _ in graph.model.named_parameters())
        return wrong_in_body(graph, samples) if has_body else outputs

    return measure_layers(source.make_graph(folder), samples, answer, folder)


@pytest.mark.parametrize("most_outputs", [99, 2])
def test_one_layer_alone_is_to_blame(most_outputs: int, tmp_path: Path) -> None:
    """Its own loss is what 5 % make; what comes later carries that on, and loses nothing itself."""
    layers = measure(tmp_path, most_outputs)
    assert [(layer.module, layer.op) for layer in layers] == [
        ("stem.2", "relu"),
        ("body", "conv2d"),
        ("", "relu"),
        ("recurrent", "lstm"),
        ("", "mean"),
        ("head", "linear"),
    ]
    own = {layer.op: layer.own_sqnr_db for layer in layers[1:]}
    assert 15 < own.pop("conv2d") < 35
    assert layers[0].sqnr_db > 100 and min(own.values()) > 100
    assert all(layer.sqnr_db < 60 for layer in layers[1:])


def test_a_target_that_takes_no_layer_at_all_says_why(tmp_path: Path) -> None:
    with pytest.raises(EdgearkError, match="1 outputs are too many"):
        measure(tmp_path, most_outputs=0)
