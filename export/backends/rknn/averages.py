"""Averages whose windows do not all count alike, as averages of padded maps times what that costs.

Up to rknn-toolkit2 2.5.0 at least, the NPU computes the last row and column of an average with
``ceil_mode`` wrongly where the channels are a multiple of 16 (4 dB), without a word; with
``count_include_pad=False`` it is the CPU that averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference


def write_out_averages(proto: ModelProto) -> ModelProto:
    """Rewrite a network in place, and return it.

    Args:
        proto: static, every tensor's shape noted.
    """
    graph = proto.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][2:] for v in values}
    nodes: list[NodeProto] = []
    for node in graph.node:
        before, after = (sizes.get(names[0], []) for names in (node.input, node.output))
        if node.op_type != "AveragePool" or not before or len(before) != len(after):
            nodes.append(node)
            continue
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        factors, margins = _sides(given, before, after)
        if all((side == 1).all() for side in factors):
            nodes.append(node)
            continue
        factor = factors[0].reshape(-1, *[1] * (len(factors) - 1))
        for axis, side in enumerate(factors[1:], 1):
            factor = factor * side.reshape(-1, *[1] * (len(factors) - axis - 1))
        nodes += _written_out(node, given, margins, factor[None, None], proto)
    if len(nodes) == len(graph.node):
        return proto
    del graph.node[:]
    graph.node.extend(nodes)
    return shape_inference.infer_shapes(proto)


def _sides(
    given: dict, before: Sequence[int], after: Sequence[int]
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Along each side: kernel / divisor of every window, and the padding in front and behind."""
    dims = len(before)
    pads, counts = given.get("pads", [0] * 2 * dims), given.get("count_include_pad", 0)
    steps, factors, margins = given.get("strides", [1] * dims), [], []
    for side, (n, m, kernel) in enumerate(zip(before, after, given["kernel_shape"], strict=True)):
        first, last = pads[side], pads[dims + side]
        start = np.arange(m) * steps[side] - first
        low, high = (-first, n + last) if counts else (0, n)
        divisor = np.minimum(start + kernel, high) - np.maximum(start, low)
        factors.append((kernel / divisor).astype(np.float32))
        margins.append((first, max(int(start[-1]) + kernel - n, 0)))
    return factors, margins


def _written_out(
    node: NodeProto,
    given: dict,
    margins: Sequence[tuple[int, int]],
    factor: np.ndarray,
    proto: ModelProto,
) -> list[NodeProto]:
    name, result = node.name or node.output[0], node.output[0]
    padded, pooled = f"{result}/padded", f"{result}/pooled"
    pads = [0, 0, *(first for first, _ in margins), 0, 0, *(last for _, last in margins)]
    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(pads, np.int64), f"{padded}/pads"),
            numpy_helper.from_array(factor, f"{pooled}/factor"),
        ]
    )
    zeros = [node.input[0], f"{padded}/pads"]  # the toolkit fails at a value, even at 0
    strides = given.get("strides", [1] * len(margins))
    shape = {"kernel_shape": given["kernel_shape"], "strides": strides, "count_include_pad": 1}
    return [
        helper.make_node("Pad", zeros, [padded], name=f"{name}/pad", mode="constant"),
        helper.make_node("AveragePool", [padded], [pooled], name=f"{name}/pool", **shape),
        helper.make_node("Mul", [pooled, f"{pooled}/factor"], [result], name=name),
    ]
