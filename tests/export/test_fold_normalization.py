"""The normalisation inside the network: the same answers, whatever the first layer is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.graph.fold_normalization import fold_normalization
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ModelSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

BLACK = (0.0, 0.0, 0.0)
COLORS = (123.7, 16.3, 203.5)
STD = (58.4, 27.1, 99.4)


def make_spec(mean: tuple[float, ...], std: tuple[float, ...]) -> ModelSpec:
    return replace(model_entry("vgg_kpu").spec, input_size=(16, 24), mean=mean, std=std)


def fold(model: nn.Module, spec: ModelSpec, folder: Path) -> tuple[onnx.ModelProto, float]:
    """The folded network, and its largest error on raw pixels, edges included."""
    graph = Graph(model, spec, folder)
    folded = fold_normalization(onnx.load(graph.onnx(11)), spec.mean, spec.std)
    onnx.checker.check_model(folded, full_check=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, spec.input_shape, dtype=np.uint8)
    session = onnxruntime.InferenceSession(
        folded.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    answers = session.run(None, {"input": images.astype(np.float32)})
    errors = [
        np.abs(answer - wanted).max() / max(1, np.abs(wanted).max())
        for answer, wanted in zip(answers, graph.reference(images), strict=True)
    ]
    return folded, float(max(errors))


class Twice(nn.Module):
    """Two layers read the image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * self.b(x)


@pytest.mark.parametrize(
    ("model", "mean", "in_front"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), BLACK, False),
        (nn.Conv2d(3, 4, 3, padding=1, bias=False), BLACK, False),
        (nn.Conv2d(3, 4, 3, bias=False), COLORS, False),
        (nn.Conv2d(3, 4, 3, padding=1), COLORS, True),
        (nn.Conv2d(3, 3, 3, groups=3), BLACK, True),
        (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 1)), BLACK, True),
        (Twice(), BLACK, True),
    ],
)
def test_a_layer_is_added_only_where_it_must(
    model: nn.Module, mean: tuple[float, ...], in_front: bool, tmp_path: Path
) -> None:
    spec = make_spec(mean, STD)
    folded, error = fold(model, spec, tmp_path)
    before = onnx.load(Graph(model, spec, tmp_path).onnx(11))
    assert len(folded.graph.node) == len(before.graph.node) + in_front
    used = {name for node in folded.graph.node for name in node.input}
    assert {tensor.name for tensor in folded.graph.initializer} <= used
    assert error < 1e-5


@settings(max_examples=30)
@given(
    means=st.tuples(*[st.sampled_from((0.0, 16.3, 255.0))] * 3),
    stds=st.tuples(*[st.floats(0.1, 255)] * 3),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    grouped=st.booleans(),
    bias=st.booleans(),
)
def test_answers_stay_the_same(
    means: tuple[float, ...],
    stds: tuple[float, ...],
    kernel: int,
    stride: int,
    padding: int,
    grouped: bool,
    bias: bool,
) -> None:
    torch.manual_seed(0)
    groups = 3 if grouped else 1
    model = nn.Conv2d(3, 6, kernel, stride, padding, groups=groups, bias=bias)
    with tempfile.TemporaryDirectory() as folder:
        _, error = fold(model, make_spec(means, stds), Path(folder))
    assert error < 1e-4
