"""Flips of tensors of five axes and more, of which MNN 3.6 dies, or computes something else."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import add_constant, constant_of, onnx_pass, replace_node, static_shape

_MOST_AXES = 4


@onnx_pass
def gather_flips(model: ir.Model) -> None:
    """A copy in which slices that run backwards take constant places instead.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        shape = static_shape(node.inputs[0]) if node.op_type == "Slice" else None
        if shape is None or len(shape) <= _MOST_AXES or len(node.inputs) < 5:
            continue
        starts, ends, axes, steps = map(constant_of, node.inputs[1:5])
        if starts is None or ends is None or axes is None or steps is None or steps.min() > 0:
            continue
        value, nodes = node.inputs[0], []
        for start, end, axis, step in np.stack((starts, ends, axes, steps)).T.tolist():
            places = np.arange(shape[axis])[slice(start, None if end < -shape[axis] else end, step)]
            name = f"{node.name or node.outputs[0].name}/places{axis}"
            chosen = add_constant(model.graph, name, places)
            nodes.append(ir.node("Gather", [value, chosen], {"axis": axis}, name=f"{name}/gather"))
            value = nodes[-1].outputs[0]
        replace_node(node, nodes, nodes[-1].outputs)
