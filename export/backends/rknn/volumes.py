"""What rknn-toolkit2 2.5.0 makes of volumes, in other forms.

Padding of depth and planes at once it leaves to the CPU; each step alone stays on the NPU. Of 3-D
convolutions in groups it dies, or computes something else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import (
    add_constant,
    constant_of,
    onnx_pass,
    replace_node,
    static_shape,
)
from ...graph.transposed_groups import fill_groups

_DEPTH = (0, 1, 2)  # axes of [N, C, D, H, W] that the first step pads
_AXES = 5


@onnx_pass
def split_volume_pads(model: ir.Model) -> None:
    """A copy in which no padding with a constant is of both.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        if node.op_type != "Pad" or node.attributes.get_string("mode", "constant") != "constant":
            continue
        shape, widths = static_shape(node.inputs[0]), _widths(node)
        if shape is not None and len(shape) == _AXES and len(widths) == 2 * _AXES:
            steps = [
                [w if (i % _AXES in _DEPTH) == is_depth else 0 for i, w in enumerate(widths)]
                for is_depth in (True, False)
            ]
            if all(map(any, steps)):
                _split(model.graph, node, steps)


@onnx_pass
def fill_volume_groups(model: ir.Model) -> None:
    """A copy in which 3-D convolutions have one group, with zeros for what others read."""
    for node in list(model.graph):
        groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
        weight = constant_of(node.inputs[1]) if groups > 1 else None
        if weight is None or weight.ndim != _AXES:
            continue
        name = f"{node.name or node.outputs[0].name}/dense"
        node.replace_input_with(1, add_constant(model.graph, name, fill_groups(weight, groups)))
        node.attributes["group"] = ir.AttrInt64("group", 1)


def _widths(node: ir.Node) -> list[int]:
    """Of all axes; [] where they are computed, or of some axes alone."""
    pads = node.inputs[1] if len(node.inputs) > 1 else None
    tensor = None if pads is None else pads.const_value
    has_axes = len(node.inputs) > 3 and node.inputs[3] is not None
    return [] if tensor is None or has_axes else [int(n) for n in tensor.numpy()]


def _split(graph: ir.Graph, node: ir.Node, steps: Sequence[Sequence[int]]) -> None:
    tape, value, name = ir.tape.Tape(), node.inputs[0], node.name or node.outputs[0].name
    for step, widths in zip(("depth", "planes"), steps, strict=True):
        pads = add_constant(graph, f"{name}/{step}", np.array(widths, np.int64))
        inputs = [value, pads, *node.inputs[2:3]]
        value = tape.op("Pad", inputs, {"mode": "constant"}, name=f"{name}/{step}")
    assert value is not None
    replace_node(node, tape.nodes, [value])
