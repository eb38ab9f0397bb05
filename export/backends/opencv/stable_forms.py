"""Forms that OpenCV's ``dnn`` module computes rightly for numbers of every size.

Of a reduction over all axes it makes other shapes, or dies; its logarithm of a sum of exponentials
is infinite beyond 88, and so are the exponentials that 5.x makes of a hyperbolic tangent.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from ...graph.onnx_passes import add_constant, constant_of, onnx_pass, replace_node, static_shape

_REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare")
_ONE = 20.0  # the hyperbolic tangent of more is 1 in float32


def write_stable_forms(proto: ModelProto, is_5: bool) -> ModelProto:
    """A copy in such forms.

    Args:
        proto: static, every tensor's shape noted; opset 18.
        is_5: for 5.x, which knows tensors without axes.
    """
    return _reduce_rows(_limit_exponents(proto, is_5), is_5)


@onnx_pass
def _limit_exponents(model: ir.Model, is_5: bool) -> None:
    graph = model.graph
    for node in list(graph):
        if node.op_type in ("ReduceLogSumExp", "LogSoftmax"):
            _subtract_maximum(graph, node)
        elif node.op_type == "Squeeze" and not node.inputs[1:]:
            _shape(graph, node, is_5)
        elif node.op_type == "Tanh" and is_5:
            _clamp(graph, node)


@onnx_pass
def _reduce_rows(model: ir.Model, is_5: bool) -> None:
    for node in list(model.graph):
        if node.op_type in _REDUCTIONS:
            _flatten(model.graph, node, is_5)


def _flatten(graph: ir.Graph, node: ir.Node, is_5: bool) -> None:
    """A reduction of everything, or of the last three axes and more, becomes one of rows."""
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if not before or after is None:
        return
    given = constant_of(node.inputs[1]) if node.inputs[1:] else None
    axes = range(len(before)) if given is None else {int(axis) % len(before) for axis in given}
    first = len(before) - len(axes)
    is_last = {*axes} == {*range(first, len(before))} and len(axes) >= 3
    if not is_last and math.prod(after) != 1:
        return
    name = node.name or node.outputs[0].name or ""
    rows = math.prod(before[:first]) if is_last else 1
    row = add_constant(graph, f"{name}/row", np.array([rows, -1], np.int64))
    last = add_constant(graph, f"{name}/axes", np.array([1], np.int64))
    shape = _sizes(graph, name, after, is_5)
    tape = ir.tape.Tape()
    x = tape.op("Reshape", [node.inputs[0], row], name=f"{name}/flatten")
    if node.op_type in ("ReduceL2", "ReduceSumSquare"):
        x = tape.op("Mul", [x, x], name=f"{name}/square")
        total = tape.op("ReduceSum", [x, last], {"keepdims": 1}, name=name)
        total = tape.op("Sqrt", [total]) if node.op_type == "ReduceL2" else total
    else:
        total = tape.op(node.op_type, [x, last], {"keepdims": 1}, name=name)
    result = tape.op("Reshape", [total, shape], name=f"{name}/shaped")
    replace_node(node, tape.nodes, [result])


def _sizes(graph: ir.Graph, name: str, shape: tuple[int, ...], is_5: bool) -> ir.Value:
    sizes = shape if is_5 else shape or (1,)
    return add_constant(graph, f"{name}/shape", np.array(sizes, np.int64))


def _shape(graph: ir.Graph, node: ir.Node, is_5: bool) -> None:
    """A squeeze that names no axes, which 4.x refuses."""
    after = static_shape(node.outputs[0])
    if after is None:
        return
    name = node.name or node.outputs[0].name or ""
    tape = ir.tape.Tape()
    shape = _sizes(graph, name, after, is_5)
    result = tape.op("Reshape", [node.inputs[0], shape], name=node.name)
    replace_node(node, tape.nodes, [result])


def _subtract_maximum(graph: ir.Graph, node: ir.Node) -> None:
    """The logarithm of a sum of exponentials, of which the largest is 1."""
    is_softmax, name = node.op_type == "LogSoftmax", node.name or node.outputs[0].name
    axes, given = node.inputs[1:], {"keepdims": 1}
    if is_softmax:
        axis = np.array([node.attributes.get_int("axis", -1)], np.int64)
        axes = (add_constant(graph, f"{name}/axes", axis),)
    elif not axes:
        return
    tape = ir.tape.Tape()
    most = tape.op("ReduceMax", [node.inputs[0], *axes], given, name=f"{name}/max")
    less = tape.op("Sub", [node.inputs[0], most], name=f"{name}/less")
    powers = tape.op("Exp", [less], name=f"{name}/exp")
    total = tape.op("ReduceSum", [powers, *axes], given, name=f"{name}/sum")
    log = tape.op("Log", [total], name=f"{name}/log")
    if is_softmax:
        result = tape.op("Sub", [less, log], name=name)
    else:
        result = tape.op("Add", [log, most], name=name)
        if not node.attributes.get_int("keepdims", 1):
            result = tape.op("Squeeze", [result, *axes], name=f"{name}/squeeze")
    replace_node(node, tape.nodes, [result])


def _clamp(graph: ir.Graph, node: ir.Node) -> None:
    name = node.name or node.outputs[0].name or ""
    limits = [
        add_constant(graph, f"{name}/{side}", np.float32(sign * _ONE))
        for side, sign in (("least", -1), ("most", 1))
    ]
    tape = ir.tape.Tape()
    clamped = tape.op("Clip", [node.inputs[0], *limits], name=f"{name}/clamp")
    result = tape.op("Tanh", [clamped], name=node.name)
    replace_node(node, tape.nodes, [result])
