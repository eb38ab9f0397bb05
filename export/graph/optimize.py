"""Rewrites of a float32 ONNX graph that keep its function and spare a CPU work.

| what                                                 | becomes                                   |
|------------------------------------------------------|-------------------------------------------|
| a 1x1 convolution, then the average of the whole map | the average, then the convolution: of one |
|                                                      | pixel                                     |
| a Concat, then a convolution                         | the sum of the parts' convolutions: the   |
|                                                      | runtime adds as it convolves, and copies  |
|                                                      | nothing                                   |
| of such a part: nearest upsampling, then a 1x1       | the convolution, then the upsampling: a   |
| convolution                                          | quarter of the pixels                     |

They are equalities of linear algebra. Floats are added in another order, so answers differ in their
last digits. In int8 they would not be equalities: each new tensor is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .onnx_passes import add_constant, constant_of, onnx_pass, replace_node, static_shape


@onnx_pass
def optimize_graph(model: ir.Model) -> None:
    """A copy that does less.

    Args:
        model: as :class:`~.files.Graph` writes it: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        if _is_global_pool(node):
            _pool_before_head(node)
    for node in list(model.graph):
        if node.op_type == "Concat" and node.attributes.get_int("axis") == 1:
            _split_concat(node)


def _pool_before_head(pool: ir.Node) -> None:
    """``mean(w * x + b)`` is ``w * mean(x) + b`` where ``w`` is 1x1."""
    between = pool.inputs[0]
    conv = between.producer() if between else None
    if conv is None or not _is_pointwise(conv) or _readers(conv.outputs[0]) != [pool]:
        return
    tape = ir.tape.Tape()
    pooled = tape.op("AveragePool", conv.inputs[:1], pool.attributes, name=pool.name)
    result = tape.op("Conv", [pooled, *conv.inputs[1:]], conv.attributes, name=conv.name)
    replace_node(pool, tape.nodes, [result])


def _split_concat(concat: ir.Node) -> None:
    """``w * [a, b]`` is ``w_a * a + w_b * b``."""
    readers = _readers(concat.outputs[0])
    if len(concat.inputs) > 1 and all(map(_is_dense, readers)):
        for conv in readers:
            _split(conv, concat.inputs)


def _split(conv: ir.Node, parts: Sequence[ir.Value | None]) -> None:
    graph, name = conv.graph, conv.outputs[0].name
    weight = constant_of(conv.inputs[1])
    shapes = [static_shape(part) for part in parts]
    if weight is None or not isinstance(graph, ir.Graph) or not all(shapes):
        return
    ends = np.cumsum([shape[1] for shape in shapes if shape])
    tape = ir.tape.Tape()
    total: ir.Value | None = None
    for index, values in enumerate(np.split(weight, ends[:-1], axis=1)):
        part_of_weight = add_constant(graph, f"{name}.weight{index}", np.ascontiguousarray(values))
        bias = conv.inputs[2:] if total is None else ()
        answer = _convolve(tape, conv, parts[index], (part_of_weight, *bias), f"{name}.{index}")
        total = (
            answer if total is None else tape.op("Add", [total, answer], name=f"{name}.{index}.sum")
        )
    if total is not None:
        replace_node(conv, tape.nodes, [total])


def _convolve(
    tape: ir.tape.Tape,
    conv: ir.Node,
    part: ir.Value | None,
    weights: Sequence[ir.Value | None],
    name: str,
) -> ir.Value:
    """``conv`` of one part; in front of the upsampling that made it, where that is equal."""
    resize = part.producer() if part else None
    if resize is None or not _is_pointwise(conv) or not _is_nearest_upsampling(resize):
        return tape.op("Conv", [part, *weights], conv.attributes, name=name)
    small = tape.op("Conv", [resize.inputs[0], *weights], conv.attributes, name=f"{name}.small")
    return tape.op("Resize", [small, *resize.inputs[1:]], resize.attributes, name=name)


def _readers(value: ir.Value) -> list[ir.Node]:
    """None of a tensor that the network answers with, since it has to stay."""
    return [] if value.is_graph_output() else list(value.consumers())


def _is_global_pool(node: ir.Node) -> bool:
    if node.op_type != "AveragePool" or any(node.attributes.get_ints("pads", [])):
        return False
    shape = static_shape(node.inputs[0])
    return shape is not None and tuple(node.attributes.get_ints("kernel_shape", [])) == shape[2:]


def _is_nearest_upsampling(node: ir.Node) -> bool:
    """By factors of height and width: given sizes would name the channels too."""
    if node.op_type != "Resize" or len(node.inputs) != 3:
        return False
    source, target = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if source is None or target is None or node.attributes.get_string("mode") != "nearest":
        return False
    return source[:2] == target[:2] and math.prod(source) < math.prod(target)


def _is_dense(node: ir.Node) -> bool:
    return node.op_type == "Conv" and node.attributes.get_int("group", 1) == 1


def _is_pointwise(node: ir.Node) -> bool:
    given = node.attributes
    steps = {*given.get_ints("kernel_shape", [0]), *given.get_ints("strides", [])}
    return _is_dense(node) and steps == {1} and not any(given.get_ints("pads", []))
