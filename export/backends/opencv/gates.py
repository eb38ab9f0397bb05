"""Maps that meet larger ones, written at full size for OpenCV 5.

Where both come from convolutions and one has a single channel, OpenCV 5.0 keeps them in blocks of
channels, and dies as it adds or multiplies them (``conv2_common.cpp``: ``!wshape.empty()``):
spatial attention, for one. And it fuses a sum into a convolution whose result is the smaller term.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import add_constant, constant_of, onnx_pass, static_shape

_BINARY = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub")
_CHANNELS = 1


@onnx_pass
def widen_gates(model: ir.Model) -> None:
    """A copy in which such a map is expanded first.

    Args:
        model: static, every tensor's shape noted.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type not in _BINARY or len(node.inputs) != 2:
            continue
        shapes = [static_shape(value) for value in node.inputs]
        if any(shape is None or len(shape) < 3 for shape in shapes):
            continue
        if any(constant_of(value) is not None for value in node.inputs):
            continue
        full = np.broadcast_shapes(*(shape for shape in shapes if shape is not None))
        for index, (value, shape) in enumerate(zip(node.inputs, shapes, strict=True)):
            maker = None if value is None else value.producer()
            is_fused = node.op_type == "Add" and maker is not None and maker.op_type == "Conv"
            if shape is not None and shape != full and (is_fused or shape[_CHANNELS] == 1):
                _widen(graph, node, index, full if is_fused else (shape[0], full[1], *shape[2:]))


def _widen(graph: ir.Graph, node: ir.Node, index: int, shape: tuple[int, ...]) -> None:
    name = f"{node.name or node.outputs[0].name}/widened_{index}"
    sizes = add_constant(graph, f"{name}/shape", np.array(shape, np.int64))
    expand = ir.node("Expand", [node.inputs[index], sizes], name=name)
    graph.insert_before(node, expand)
    expand.outputs[0].name = name
    node.replace_input_with(index, expand.outputs[0])
