"""GELUs of other people's ONNX files: in the form that the toolkit reads, and on the NPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeark import export_model
from edgeark.export.backends.rknn.gelu import order_gelu
from edgeark.export.graph.onnx_equality import prove_equal
from onnx import ModelProto, TensorProto, helper, numpy_helper
from support.target_base import installed_target

WANTED = ["Conv", "Mul", "Div", "Erf", "Add", "Mul"]
Step = tuple[str, list[str]]

# Each step's result has its place as name; a is the input, r the root of 2.
FORMS: dict[str, list[Step]] = {
    "half of the error function": [
        *(("Div", ["a", "r"]), ("Erf", ["0"]), ("Add", ["one", "1"])),
        *(("Mul", ["half", "2"]), ("Mul", ["a", "3"])),
    ],
    "half of all": [
        *(("Div", ["a", "r"]), ("Erf", ["0"]), ("Add", ["1", "one"])),
        *(("Mul", ["a", "2"]), ("Mul", ["3", "half"])),
    ],
    "times the reciprocal": [
        *(("Mul", ["i", "a"]), ("Erf", ["0"]), ("Add", ["1", "one"])),
        *(("Mul", ["half", "a"]), ("Mul", ["2", "3"])),
    ],
}


def model_of(steps: list[Step]) -> ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 1, (8, 3, 3, 3)),
        "r": 2**0.5,
        "i": 0.5**0.5,
        "one": 1,
        "half": 0.5,
    }
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4)]
    for place, (kind, names) in enumerate(steps):
        result = "y" if place == len(steps) - 1 else str(place)
        nodes.append(helper.make_node(kind, names, [result], name=f"node{place}"))
    tensors = [numpy_helper.from_array(np.float32(v), name) for name, v in weights.items()]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("x", 3), ("y", 8))
    )
    graph = helper.make_graph(nodes, "gelu", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("name", FORMS)
def test_all_are_written_in_one_form(name: str) -> None:
    model = model_of(FORMS[name])
    ordered = order_gelu(model)
    assert [node.op_type for node in ordered.graph.node] == WANTED
    prove_equal(model, ordered, name)


def test_a_product_with_an_error_function_of_another_tensor_stays() -> None:
    steps: list[Step] = [
        *(("Relu", ["a"]), ("Div", ["0", "r"]), ("Erf", ["1"]), ("Add", ["2", "one"])),
        *(("Mul", ["half", "3"]), ("Mul", ["a", "4"])),
    ]
    ordered = order_gelu(model_of(steps))
    assert [n.op_type for n in ordered.graph.node] == ["Conv", *(kind for kind, _ in steps)]


def test_the_toolkit_puts_them_on_the_npu(tmp_path: Path) -> None:
    """The one that it does not read as it is."""
    target = installed_target("rknn:rk3588")
    path = tmp_path / "gelu.onnx"
    onnx.save(model_of(FORMS["half of the error function"]), path)
    (row,) = export_model(path, to=[target.full_name], out=tmp_path / "exports")
    assert row.status == "ok" and row.placement is not None and row.placement.cpu_ops == ()
