"""The rewritten graph answers as the network does, and multiplies less where it can."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.graph.files import Graph, write_onnx
from edgeark.export.graph.optimize import optimize_graph
from edgeark.export.targets.base import Conversion
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.layers import ConvHead, FixedAvgPool
from hypothesis import given, settings
from hypothesis import strategies as st
from support.zoo_cases import answers, create_small, one_per_family
from torch import Tensor, nn


class Joined(nn.Module):
    """A Concat of maps, some of them of half the size and doubled, and the layer that reads it."""

    def __init__(self, channels: list[int], doubled: list[bool], reader: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2, c, 2, 2), nn.Upsample(scale_factor=2.0))
            if double
            else nn.Conv2d(2, c, 1)
            for c, double in zip(channels, doubled, strict=True)
        )
        self.reader = reader

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(torch.cat([part(x) for part in self.parts], 1))


def rewrite(
    model: nn.Module, shape: tuple[int, ...], opset: int = 15
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graph before and after; fails unless both answer as PyTorch does."""
    example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model.eval(), (example,), path, opset)
        before, after = onnx.load(path), optimize_graph(onnx.load(path))
    onnx.checker.check_model(after, full_check=True)
    with torch.no_grad():
        wanted = answers(model, example)
    session = onnxruntime.InferenceSession(
        after.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for got, want in zip(session.run(None, {"input": example.numpy()}), wanted, strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=1e-4, rtol=1e-4)
    return before, after


def operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize(
    ("name", "opset"),
    [*((name, 15) for name in one_per_family()), ("yolov5n", 18)],
)
def test_a_family_answers_alike(name: str, opset: int) -> None:
    model = create_small(name)
    rewrite(model, spec_of(model).input_shape, opset)


@given(
    parts=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=4),
    kernel=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
@settings(max_examples=25)
def test_a_concat_becomes_a_sum(
    parts: list[tuple[int, bool]], kernel: int, stride: int, bias: bool
) -> None:
    channels, doubled = map(list, zip(*parts, strict=True))
    reader = nn.Conv2d(sum(channels), 10, kernel, stride, kernel // 2, bias=bias)
    _, after = rewrite(Joined(channels, doubled, reader), (1, 2, 8, 12))
    assert "Concat" not in operators(after)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in after.graph.value_info}
    resized = [shapes[n.output[0]][1].dim_value for n in after.graph.node if n.op_type == "Resize"]
    first = kernel == stride == 1  # then the convolution comes before the upsampling
    assert resized == [10 if first else c for c, double in parts if double]


class TwoAnswers(nn.Module):
    """The Concat is an answer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        joined = torch.cat([x.relu(), x.sigmoid()], 1)
        return joined, self.reader(joined)


@pytest.mark.parametrize(
    "model",
    [
        TwoAnswers(),
        Joined([2, 4], [False, False], nn.Conv2d(6, 6, 3, groups=2)),
        Joined([2, 4], [False, True], nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d((8, 8))),
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.AvgPool2d(2)),
    ],
    ids=["an answer", "grouped", "another reader", "3x3 before the pool", "a pool of parts"],
)
def test_what_does_not_fit_is_left(model: nn.Module) -> None:
    before, after = rewrite(model, (1, 2, 8, 8))
    assert after.graph.node == before.graph.node


def test_the_head_multiplies_one_pixel() -> None:
    model = nn.Sequential(ConvHead(2, 7), FixedAvgPool((4, 6)))
    before, after = rewrite(model, (1, 2, 4, 6))
    assert operators(before) == ["Conv", "AveragePool"]
    assert operators(after) == ["AveragePool", "Conv"]


def test_yolov5_convolves_before_it_doubles() -> None:
    """Each of the neck's two doubled maps has two readers; the rest of both was there before."""
    before, after = rewrite(create_model("yolov5n", input_size=(64, 64)), (1, 3, 64, 64))
    assert operators(before).count("Resize") == 2
    assert operators(after).count("Resize") == 4
    assert "Concat" not in operators(after)


def test_onnx_runtime_gets_it(tmp_path: Path) -> None:
    model = create_small("mobilenet_v1_025")
    graph = Graph(model, spec_of(model), tmp_path)
    artifact = OnnxRuntime().convert(Conversion(graph, "float32", tmp_path, tmp_path / "log.txt"))
    assert operators(onnx.load(graph.onnx_of_any_opset()))[-2:] == ["Conv", "AveragePool"]
    assert operators(onnx.load(artifact.path))[-2:] == ["AveragePool", "Conv"]
