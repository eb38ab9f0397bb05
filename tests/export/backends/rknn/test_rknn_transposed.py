"""Grouped transposed convolutions as dense ones: equal, and needed by the simulator in int8."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from edgeark.export.backends.rknn.target import Rknn
from edgeark.export.graph.onnx_session import open_session
from edgeark.export.graph.transposed_groups import densify_transposed_groups
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from support.rknn_cases import make_graph
from support.settled import make_images
from support.target_base import installed_target
from torch import nn


def network(outputs: int, groups: int, bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(8, outputs, 3, 2, 1, 1, groups=groups, bias=bias)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), up).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("outputs", "groups"), [(8, 2), (4, 4), (16, 8), (8, 8), (8, 1)])
def test_dense_ones_are_equal(outputs: int, groups: int, bias: bool, tmp_path: Path) -> None:
    model = network(outputs, groups, bias)
    graph = make_graph(model, tmp_path)
    proto = densify_transposed_groups(onnx.load(graph.onnx()), keeps_depthwise=True)
    x = torch.randn(graph.spec.input_shape)
    (answer,) = open_session(proto).run(None, {proto.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), model(x), rtol=1e-4, atol=1e-5)
    (node,) = (n for n in proto.graph.node if n.op_type == "ConvTranspose")
    found = {a.name: a.i for a in node.attribute}.get("group", 1)
    assert found == (8 if (outputs, groups) == (8, 8) else 1)


def test_int8_runs_in_the_simulator(tmp_path: Path) -> None:
    target = installed_target("rknn:rk3588")
    assert isinstance(target, Rknn)
    graph = make_graph(network(16, 4), tmp_path)
    images = make_images(8, graph.spec.input_shape[1:], seed=0)
    artifact = target.convert(Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images))
    result = target.run(artifact, images, tmp_path / "log.txt")
    assert compare(graph.reference(images), result.outputs).sqnr_db > 20
