"""Pools with ``ceil_mode``: what PyTorch leaves out, engines are not to keep."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeark.export.graph.ceil_mode import settle_ceil_mode
from edgeark.export.graph.files import write_onnx
from edgeark.export.graph.onnx_session import open_session
from edgeark.export.graph.trace_forms import plain_forms
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional as f


def draw_pool(rng: random.Random) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    dims, is_average = rng.choice([1, 2, 3]), rng.random() < 0.5
    kernel = [rng.randint(1, 4) for _ in range(dims)]
    arguments = {
        "kernel_size": kernel,
        "stride": [rng.randint(1, 4) for _ in range(dims)],
        "padding": [rng.randint(0, side // 2) for side in kernel],
        "ceil_mode": True,
    }
    if is_average:
        arguments["count_include_pad"] = rng.random() < 0.5
    else:
        arguments["dilation"] = [rng.choice([1, 1, 2]) for _ in range(dims)]
    if is_average and dims > 1 and rng.random() < 0.3:
        arguments["divisor_override"] = rng.randint(2, 5)
    pool = getattr(f, f"{'avg' if is_average else 'max'}_pool{dims}d")
    x = torch.randn(1, 2, *(rng.randint(7, 11) for _ in range(dims)))
    return lambda x: pool(x, **arguments), x


@pytest.mark.parametrize("seed", range(4))
def test_a_traced_pool_answers_the_same(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    for _ in range(100):
        pool, x = draw_pool(rng)
        wanted = pool(x)
        with plain_forms():
            torch.testing.assert_close(pool(x), wanted)


def test_a_trace_holds_no_ceil_mode_that_says_nothing() -> None:
    network = nn.Sequential(nn.MaxPool2d(3, 3, 1, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True))
    with plain_forms():
        traced: Any = torch.jit.trace(network, torch.zeros(1, 3, 11, 11))
    graph = traced.inlined_graph
    pools = graph.findAllNodes("aten::max_pool2d")
    flags = [list(node.inputs())[5].toIValue() for node in pools]
    assert flags == [False, False]


def made_onnx(
    op_type: str, size: tuple[int, int], declared: tuple[int, int], **attributes: object
) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, *size])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, *declared])
    node = helper.make_node(op_type, ["x"], ["y"], ceil_mode=1, **attributes)
    graph = helper.make_graph([node], "pool", [image], [answer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("declared", [(3, 3), (4, 4)], ids=["PyTorch's shape", "ONNX's shape"])
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_a_window_left_out_goes_from_a_users_file(op_type: str, declared: tuple[int, int]) -> None:
    given = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1]}
    settled = settle_ceil_mode(made_onnx(op_type, (8, 8), declared, **given))
    (node,), (output,) = settled.graph.node, settled.graph.output
    assert "ceil_mode" not in {a.name for a in node.attribute}
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 2, 3, 3]
    x = torch.randn(1, 2, 8, 8)
    pool = (
        f.max_pool2d(x, 3, 3, 1)
        if op_type == "MaxPool"
        else f.avg_pool2d(x, 3, 3, 1, count_include_pad=False)
    )
    (answer,) = open_session(settled).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(answer, pool.numpy(), atol=1e-6)


def test_one_axis_left_out_beside_one_that_counts_is_padding_behind() -> None:
    given = {"kernel_shape": [3, 3], "strides": [3, 2], "pads": [1, 0, 1, 0]}
    settled = settle_ceil_mode(made_onnx("MaxPool", (8, 12), (3, 6), **given))
    (node,) = settled.graph.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attributes["pads"] == [1, 0, 1, 1] and "ceil_mode" not in attributes
    x = torch.randn(1, 2, 8, 12)
    (answer,) = open_session(settled).run(None, {"x": x.numpy()})
    wanted = f.max_pool2d(x, 3, (3, 2), (1, 0), ceil_mode=True)
    np.testing.assert_array_equal(answer, wanted.numpy())


def test_a_ceil_mode_that_adds_windows_stays(tmp_path: Path) -> None:
    write_onnx(
        nn.MaxPool2d(3, 2, ceil_mode=True), [torch.zeros(1, 3, 8, 8)], tmp_path / "m.onnx", 13
    )
    (node,) = onnx.load(tmp_path / "m.onnx").graph.node
    assert helper.get_node_attr_value(node, "ceil_mode") == 1


@pytest.mark.parametrize("start", [2, -3, torch.tensor(1)], ids=["front", "back", "tensor"])
def test_a_narrowed_map_is_traced_as_a_slice(start: int | Tensor) -> None:
    class Narrow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.narrow(x.narrow(1, start, 3), -1, 1, 2)

    x = torch.randn(1, 8, 4, 4)
    with plain_forms():
        traced: Any = torch.jit.trace(Narrow(), x)
    assert not traced.inlined_graph.findAllNodes("aten::narrow")
    torch.testing.assert_close(traced(x), Narrow()(x))
