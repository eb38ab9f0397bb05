"""Convolutions without padding as padded ones: networks are equal, and the K210 takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edgeark.export.backends.k210.target import K210
from edgeark.export.graph.files import Graph
from edgeark.export.graph.network import export_program
from edgeark.export.rewrite import rewrite
from edgeark.export.rewrite.draft import begin
from edgeark.export.rewrite.engine import largest_error
from edgeark.export.rewrite.unpadded import padded
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.settled import SPEC, prove, settle
from torch import nn

Layer = Callable[[int], nn.Module]  # of as many channels

LAYERS: dict[str, Layer] = {
    "3x3": lambda n: nn.Conv2d(n, n, 3),
    "5x3": lambda n: nn.Conv2d(n, n, (5, 3), bias=False),
    "holes": lambda n: nn.Conv2d(n, n, 3, dilation=2),
    "depthwise": lambda n: nn.Conv2d(n, n, 3, groups=n),
    "stride": lambda n: nn.Conv2d(n, n, 4, 2),
    "1x1": lambda n: nn.Conv2d(n, n, 1),
    "norm": lambda n: nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(inplace=True)),
    "pool": lambda n: nn.MaxPool2d(2),
    "average": lambda n: nn.AvgPool2d(2),
    "ceil": lambda n: nn.MaxPool2d(2, ceil_mode=True),
    "same": lambda n: nn.Conv2d(n, n, 3, padding=1),
}
ALWAYS = {*LAYERS} - {"average", "ceil", "same", "stride"}


def network(names: list[str], end: str, side: int) -> nn.Sequential:
    """The layers, and an end that takes the whole map."""
    layers = nn.Sequential(nn.Conv2d(3, 2, 5), *(LAYERS[name](2) for name in names))
    shape = layers(torch.zeros(1, 3, side, side)).shape
    if end == "linear":
        return layers.append(nn.Flatten()).append(nn.Linear(shape[1:].numel(), 5))
    if end == "convolution":
        layers.append(nn.Conv2d(2, 6, (shape[2], shape[3])))
        return layers.append(nn.ReLU()).append(nn.Conv2d(6, 5, 1))
    return layers


@settings(max_examples=40)
@given(
    names=st.lists(st.sampled_from([*LAYERS]), max_size=4),
    end=st.sampled_from(["linear", "convolution", "map"]),
    side=st.sampled_from([40, 45]),
)
@example(["pool", "5x3", "norm", "pool"], "convolution", 44)
@example(["3x3", "pool", "pool"], "linear", 40)
@example(["holes", "norm", "depthwise", "average"], "linear", 41)
def test_it_is_the_same_network(names: list[str], end: str, side: int) -> None:
    model = network(names, end, side).eval()
    draft = begin(export_program(model, (1, 3, side, side)))
    first, *others = draft.network().ops
    made = draft.replace(first, padded.function, following=others)
    if end == "map":
        assert made is None
    elif end == "linear" and set(names) <= ALWAYS and names.count("pool") < 2:
        assert made is not None
    if made is not None:
        convolutions = [op for op in made.network().ops if op.kind == "conv2d"]
        assert all(op.arguments["padding"] != [0, 0] for op in convolutions[:1])
        largest_error(model, made.module(), (2, 3, side, side))  # of any batch


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param(
            lambda: nn.Sequential(
                *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()),
                *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 3 * 7, 20), nn.ReLU()),
                nn.Linear(20, 10),
            ),
            id="lenet",
        ),
        pytest.param(
            lambda: nn.Sequential(
                *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(8, 16, (4, 8)), nn.ReLU(), nn.Conv2d(16, 10, 1)),
            ),
            id="3x3",
        ),
    ],
)
def test_the_kpu_computes_it(layers: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    target, model = K210(), layers()
    settle(model, SPEC, tmp_path)
    done = rewrite(model, SPEC.input_shape, [target])
    assert done.changes and not [each for each in done.left if each.severity == "error"]
    prove(target, Graph(done.model, SPEC, tmp_path), "int8", tmp_path)
