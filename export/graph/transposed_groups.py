"""Grouped transposed convolutions as dense ones, for compilers that get them wrong.

Zeros between the groups give the very same values.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .onnx_passes import add_constant, constant_of, onnx_pass, replace_node


@onnx_pass
def densify_transposed_groups(model: ir.Model, *, keeps_depthwise: bool = False) -> None:
    """A copy in which each has one group; perhaps but depthwise ones with one filter a channel.

    The weights, ``[in, out / groups, ...]``, become ``[in, out, ...]``, block by block.
    """
    for node in list(model.graph):
        groups = node.attributes.get_int("group", 1)
        weights = constant_of(node.inputs[1]) if node.op_type == "ConvTranspose" else None
        if groups == 1 or weights is None:
            continue
        if keeps_depthwise and weights.shape[:2] == (groups, 1):
            continue
        widened = add_constant(model.graph, f"{node.name}/dense", fill_groups(weights, groups))
        given = {key: value for key, value in node.attributes.items() if key != "group"}
        tape = ir.tape.Tape()
        result = tape.op(
            "ConvTranspose", [node.inputs[0], widened, *node.inputs[2:]], given, name=node.name
        )
        replace_node(node, tape.nodes, [result])


def fill_groups(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights of one group, ``[rows, groups * columns, ...]``, with zeros for what others read."""
    rows, columns = len(weights) // groups, weights.shape[1]
    dense = np.zeros((len(weights), groups * columns, *weights.shape[2:]), weights.dtype)
    for group in range(groups):
        own = slice(group * rows, (group + 1) * rows)
        dense[own, group * columns : (group + 1) * columns] = weights[own]
    return dense
