"""Whole ONNX files as modules: equal to ONNX Runtime, captured, named; bad ones in one line."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from edgeark.export.graph.network import capture_network
from edgeark.export.graph.onnx_files import clean_onnx, load_onnx
from edgeark.export.graph.onnx_module import OnnxModule, check_onnx_module
from edgeark.export.graph.onnx_operators import OnnxError
from onnx import TensorProto, helper
from support.onnx_cases import make_model, of, wrap
from torch import nn

models = torchvision.models
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v3_small": models.mobilenet_v3_small,
    "shufflenet": models.shufflenet_v2_x0_5,
    "squeezenet": models.squeezenet1_1,
    "vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2),
    "deeplab": lambda: models.segmentation.deeplabv3_mobilenet_v3_large(weights_backbone=None),
}


class Small(nn.Module):
    """Of everything a little, for the exporter that is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm = nn.LSTM(8, 4, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.interpolate(self.conv(x), scale_factor=0.5, mode="bilinear")
        x = self.norm(x.flatten(2).transpose(1, 2))
        x = self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.lstm(x)[0][:, -1])


def write(model: nn.Module, path: Path, dynamo: bool, opset: int) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(1, 3, 64, 64),),
            str(path),
            opset_version=opset,
            dynamo=dynamo,
            verbose=False,
        )
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_equal_and_can_be_captured(name: str, tmp_path: Path) -> None:
    proto = load_onnx(write(NETWORKS[name](), tmp_path / "net.onnx", False, 17), None)
    module = OnnxModule(proto)
    check_onnx_module(proto, module)
    if name == "deeplab":  # of the same blocks as others, and slow to capture
        return
    network = capture_network(module, (1, 3, 64, 64))
    assert not {op.kind for op in network.ops} & {"sym_size", "item", "_local_scalar_dense"}
    assert {"conv2d"} <= {op.kind for op in network.ops}
    assert all(op.module and op.source == "" for op in network.ops)


def test_what_the_dynamo_exporter_writes(tmp_path: Path) -> None:
    proto = load_onnx(write(Small(), tmp_path / "net.onnx", True, 18), None)
    check_onnx_module(proto, OnnxModule(proto))
    cleaned = clean_onnx(proto)
    check_onnx_module(cleaned, OnnxModule(cleaned))


def test_the_operators_are_those_of_the_pytorch_network(tmp_path: Path) -> None:
    model = models.resnet18().eval()
    proto = load_onnx(write(model, tmp_path / "net.onnx", False, 13), None)
    module = OnnxModule(proto)
    check_onnx_module(proto, module)
    kinds = [op.kind for op in capture_network(module, (1, 3, 64, 64)).ops]
    native = [op.kind for op in capture_network(model, (1, 3, 64, 64)).ops]
    assert kinds == [kind for kind in native if kind != "batch_norm"]


def test_modules_have_the_nodes_names_and_share_weights() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/block/act/Relu"),
        helper.make_node("MatMul", ["a", "w"], ["b"], name="forward"),
        helper.make_node("Add", ["b", "w"], ["c"], name="forward"),
        helper.make_node("Add", ["c", "w"], ["y"]),
    ]
    weight = onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 3))
    module = OnnxModule(wrap(nodes, [x], ["y"], [weight]))
    names = [name for name, one in module.named_modules() if type(one).__name__ == "OnnxOperator"]
    assert names == ["block.act.Relu", "forward_", "forward_2", "Add"]
    first, second = (module.get_submodule(n).input_1 for n in names[2:])
    assert first.data_ptr() == second.data_ptr()
    example = torch.randn(3, 3)
    torch.testing.assert_close(copy.deepcopy(module)(example), module(example))


def test_a_wrong_module_is_caught() -> None:
    proto = make_model(of("Conv", (1, 2, 5, 5), np.ones((3, 2, 3, 3), np.float32)))
    module = OnnxModule(proto)
    with torch.no_grad():
        next(module.parameters()).mul_(1.01)
    with pytest.raises(OnnxError, match=r"not equal to the file: y0 is off by 0\.01"):
        check_onnx_module(proto, module)


def _open(*dims: int | str) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    return wrap([helper.make_node("Relu", ["x"], ["y"])], [x], ["y"])


def _renamed(op_type: str) -> onnx.ModelProto:
    proto = make_model(of("Relu", (1,)))
    proto.graph.node[0].op_type = op_type
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            lambda: _renamed("Loop"),
            "node the/node: operator Loop has no function of PyTorch; unroll it",
        ),
        (
            lambda: make_model(of("Unique", (3,), opset=11)),
            "node the/node: operator Unique has no .* give the network's PyTorch code",
        ),
        (
            lambda: make_model(of("RandomNormalLike", (1, 3))),
            r"node the/node \(RandomNormalLike\): it draws random numbers: .* buffer",
        ),
        (
            lambda: make_model(of("Bernoulli", (1, 3), opset=15)),
            r"node the/node \(Bernoulli\): it draws random numbers",
        ),
        (lambda: _open("n", 3), "input x has sizes that are not fixed; .*--input-shape x="),
        (lambda: make_model(of("NonZero", (3,))), r"node the/node \(NonZero\): .*fixed sizes"),
        (
            lambda: make_model(of("MaxPool", (1, 2, 4, 4), kernel_shape=[2, 2], outputs=2)),
            r"node the/node \(MaxPool\): the indices",
        ),
        (
            lambda: make_model(of("Conv", (1, 2, 4, 4), np.zeros((3, 5, 1, 1), np.float32))),
            r"node the/node \(Conv\): ",
        ),
    ],
    ids=[
        "loop",
        "unknown",
        "random",
        "draws",
        "open",
        "depends on values",
        "indices",
        "wrong weight",
    ],
)
def test_what_cannot_be_a_module_says_why(
    proto: Callable[[], onnx.ModelProto], message: str
) -> None:
    with pytest.raises(OnnxError, match=message) as error:
        OnnxModule(proto())
    assert "\n" not in str(error.value)
