"""Names of a toolchain lead back to modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeark.export.graph.module_names import ModuleNames
from onnx import TensorProto, helper, save


@pytest.fixture
def names(tmp_path: Path) -> ModuleNames:
    pool = {"kernel_shape": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["input", "a.conv.weight"], ["getitem"], "a.bn/Conv"),
        helper.make_node("Relu", ["getitem"], ["relu"], "Relu"),
        helper.make_node("MaxPool", ["relu"], ["max_pool2d"], "p/MaxPool", **pool),
        helper.make_node("MaxPool", ["max_pool2d"], ["max_pool2d_1"], "q/MaxPool", **pool),
        helper.make_node("Resize", ["max_pool2d_1"], ["output"], "Resize_2"),
    ]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("input", "output")
    ]
    path = tmp_path / "model.onnx"
    save(helper.make_model(helper.make_graph(nodes, "net", values[:1], values[1:])), path)
    return ModuleNames(path)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("a.bn/Conv", "a.conv"),  # a folded normalisation lends its name
        ("getitem", "a.conv"),
        ("relu", "a.conv"),  # fused, and without a module
        ("p/MaxPool#1", "p"),
        ("max_pool2d_mp_tile#1", "p"),
        ("max_pool2d_1_mp_tile", "q"),  # not max_pool2d's
        ("q/MaxPool_2gavg_2conv0", "q"),
        ("Resize_2", ""),
        ("output_rs", ""),
        ("relu6", ""),  # another name, not one made of relu
        ("input_int8", ""),
    ],
)
def test_a_name_leads_to_its_module(names: ModuleNames, name: str, module: str) -> None:
    assert names.find(name) == module


def test_a_file_without_names_says_nothing() -> None:
    assert ModuleNames(None).find("Conv_3") == ""
