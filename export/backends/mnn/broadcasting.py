"""Operands that MNN 3.6 broadcasts otherwise than ONNX, without a word: written at full size."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import add_constant, constant_of, onnx_pass, static_shape

_AXIS = 1


@onnx_pass
def write_out_broadcasts(model: ir.Model) -> None:
    """A copy in which sums and choices have operands of the shapes that MNN reads.

    A constant with as many values as the map has channels is taken for a bias behind a convolution,
    whichever axis it lies along. Of ``Where``, the two answers must have the result's shape.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        shape = static_shape(node.outputs[0])
        if shape is None:
            continue
        if node.op_type == "Add":
            for index, value in enumerate(node.inputs):
                if _looks_like_a_bias(value, shape):
                    _write_out(model.graph, node, index, (1, shape[_AXIS], *[1] * (len(shape) - 2)))
        elif node.op_type == "Where":
            for index in (1, 2):
                if static_shape(node.inputs[index]) not in (None, shape):
                    _write_out(model.graph, node, index, shape)


def _looks_like_a_bias(value: ir.Value | None, shape: tuple[int, ...]) -> bool:
    """A constant with a value for each channel, and another axis."""
    if len(shape) < 3 or constant_of(value) is None:
        return False
    own = static_shape(value) or ()
    full = (1,) * (len(shape) - len(own)) + own
    return math.prod(own) == shape[_AXIS] > 1 and full[_AXIS] == 1


def _write_out(graph: ir.Graph, node: ir.Node, index: int, shape: tuple[int, ...]) -> None:
    """Broadcast an operand with a shape: a constant at once, else by an operator."""
    value = node.inputs[index]
    name = f"{node.name or node.outputs[0].name}/operand{index}"
    constant = constant_of(value)
    if constant is not None:
        whole = np.broadcast_to(constant, np.broadcast_shapes(constant.shape, shape))
        node.replace_input_with(index, add_constant(graph, name, np.ascontiguousarray(whole)))
        return
    sizes = add_constant(graph, f"{name}/shape", np.array(shape, np.int64))
    expand = ir.node("Expand", [value, sizes], name=name)
    graph.insert_before(node, expand)
    node.replace_input_with(index, expand.outputs[0])
