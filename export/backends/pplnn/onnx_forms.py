"""Equal forms of what PPLNN's x86 engine computes wrongly or dies of.

Seen on builds of ppl.nn 76ed936 with ppl.kernel.cpu f12d451 (FMA and AVX-512 alike), on the
networks of ``examples.py`` and their neighbours:

| in the file | PPLNN | written instead |
|---|---|---|
| Pad with an empty value | all zeros | Pad with 0 |
| Abs | all zeros | Max of x and -x |
| Split without sizes | all zeros | Split with equal ones |
| an operand with fewer axes than the other | wrong values | its axes of 1 are written out |
| Mul, Add, Sub of x and x | SIGSEGV where nothing else reads x | x ** 2, x * 2, x * 0 |
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from ...graph.onnx_passes import known_shapes

_BROADCASTING = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where")
_TWICE = {"Mul": ("Pow", 2.0), "Add": ("Mul", 2.0), "Sub": ("Mul", 0.0)}


def rewrite_forms(proto: ModelProto) -> ModelProto:
    """A copy with the forms that PPLNN computes rightly; it answers alike.

    Args:
        proto: a static network of float32.
    """
    rewritten = onnx.shape_inference.infer_shapes(proto, data_prop=True)  # some are left out
    graph = rewritten.graph
    shapes = known_shapes(rewritten) | {
        tensor.name: list(tensor.dims) for tensor in graph.initializer
    }
    opset = proto.opset_import[0].version
    nodes = [each for node in graph.node for each in _forms(graph, node, shapes, opset)]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return rewritten


def _forms(
    graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]], opset: int
) -> list[NodeProto]:
    """What is written for a node: mostly itself."""
    if node.op_type == "Abs":
        return _absolute(node)
    if node.op_type == "Pad" and list(node.input[2:]) == [""]:
        node.input[2] = _constant(graph, f"{node.name}.value", np.float32(0))
    elif node.op_type == "Split":
        _write_sizes(graph, node, shapes, opset)
    twice = node.op_type in _TWICE and node.input[0] == node.input[1]
    written = _once(graph, node) if twice else node
    if written.op_type in _BROADCASTING:
        return [*_write_axes(graph, written, shapes), written]
    return [written]


def _constant(graph: GraphProto, name: str, value: np.ndarray | np.generic) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _write_sizes(
    graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]], opset: int
) -> None:
    """An attribute before opset 13, an input from there on."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if len(node.input) > 1 or any(a.name == "split" for a in node.attribute):
        return
    sizes = [shapes[name][axis] for name in node.output]
    if opset < 13:
        node.attribute.append(helper.make_attribute("split", sizes))
    else:
        node.input.append(_constant(graph, f"{node.name}.sizes", np.array(sizes, np.int64)))


def _absolute(node: NodeProto) -> list[NodeProto]:
    negative = f"{node.output[0]}.negative"
    return [
        helper.make_node("Neg", node.input, [negative], f"{node.name}/negative"),
        helper.make_node("Max", [node.input[0], negative], node.output, node.name),
    ]


def _once(graph: GraphProto, node: NodeProto) -> NodeProto:
    kind, value = _TWICE[node.op_type]
    operand = _constant(graph, f"{node.name}.operand", np.float32(value))
    return helper.make_node(kind, [node.input[0], operand], node.output, node.name)


def _write_axes(
    graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]]
) -> list[NodeProto]:
    """Give every operand the rank of the result; what is computed is reshaped by a node."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    rank = len(shapes.get(node.output[0], []))
    added = []
    for index, name in enumerate(node.input):
        tensor = constants.get(name)
        shape = list(tensor.dims) if tensor is not None else shapes.get(name)
        if shape is None or len(shape) >= rank:
            continue
        full = [1] * (rank - len(shape)) + shape
        own = f"{node.name or node.output[0]}.operand{index}"
        if tensor is not None:
            _constant(graph, own, numpy_helper.to_array(tensor).reshape(full))
        else:
            sizes = _constant(graph, f"{own}.shape", np.array(full, np.int64))
            added.append(helper.make_node("Reshape", [name, sizes], [own], f"{own}/Reshape"))
        node.input[index] = own
    return added
