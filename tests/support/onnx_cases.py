"""ONNX files of one node, for comparing what is made of them with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 18
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Case:
    """One node; ``inputs``: a shape stands for an input of the network, an array is constant.

    An input's type is float32 unless the shape is in ``types``; None: left out.
    """

    op_type: str
    inputs: Sequence[tuple[int, ...] | np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = OPSET
    outputs: int = 1
    types: Mapping[int, int] = field(default_factory=dict)
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.op_type}-{self.opset}"


def of(op_type: str, *inputs: Any, opset: int = OPSET, outputs: int = 1, **attributes: Any) -> Case:
    """A case whose inputs are float32."""
    return Case(op_type, inputs, attributes, opset, outputs)


def make_model(case: Case) -> ModelProto:
    names: list[str] = []
    inputs, weights = [], []
    for i, given in enumerate(case.inputs):
        names.append("" if given is None else f"x{i}")
        if isinstance(given, np.ndarray):
            weights.append(numpy_helper.from_array(given, f"x{i}"))
        elif given is not None:
            kind = case.types.get(i, TensorProto.FLOAT)
            inputs.append(helper.make_tensor_value_info(f"x{i}", kind, given))
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(
        case.op_type, names, results, name="the/node", domain=case.domain, **case.attributes
    )
    return wrap([node], inputs, results, weights, case.opset)


def wrap(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    weights: Sequence[TensorProto] = (),
    opset: int = OPSET,
) -> ModelProto:
    """A file of these nodes, its outputs' types inferred."""
    answers = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "case", inputs, answers, weights)
    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain for node in nodes):
        opsets.append(helper.make_opsetid(_MICROSOFT, 1))
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(proto, data_prop=True)


RNG = np.random.default_rng(0)
MAP = (1, 4, 9, 10)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return (np.abs(real(*shape)) + 0.5).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def byte(*values: int, kind: type = np.uint8) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], kind)
