"""Averages whose windows do not all count alike, as averages of padded maps times what that costs.

Up to rknn-toolkit2 2.5.0 at least, the NPU computes the last row and column of an average with
``ceil_mode`` wrongly where the channels are a multiple of 16 (4 dB), without a word; with
``count_include_pad=False`` it is the CPU that averages; of padded volumes the compiler dies.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import add_constant, onnx_pass, replace_node, static_shape


@onnx_pass
def write_out_averages(model: ir.Model) -> None:
    """A copy in which each of them is a padding, an average and a product.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        if node.op_type != "AveragePool":
            continue
        before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
        if before is None or after is None:
            continue
        factors, margins = _sides(node, before[2:], after[2:])
        is_weighted = any((side != 1).any() for side in factors)
        is_padded_volume = len(margins) == 3 and any(map(any, margins))
        if is_weighted or is_padded_volume:
            _write_out(model.graph, node, factors if is_weighted else (), margins)


def _sides(
    node: ir.Node, before: Sequence[int], after: Sequence[int]
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Along each side: kernel / divisor of every window, and the padding in front and behind."""
    given, dims = node.attributes, len(before)
    pads, counts = given.get_ints("pads", [0] * 2 * dims), given.get_int("count_include_pad", 0)
    steps, kernels = given.get_ints("strides", [1] * dims), given.get_ints("kernel_shape", [])
    factors, margins = [], []
    for side, (n, m, kernel) in enumerate(zip(before, after, kernels, strict=True)):
        first, last = pads[side], pads[dims + side]
        start = np.arange(m) * steps[side] - first
        low, high = (-first, n + last) if counts else (0, n)
        divisor = np.minimum(start + kernel, high) - np.maximum(start, low)
        factors.append((kernel / divisor).astype(np.float32))
        margins.append((first, max(int(start[-1]) + kernel - n, 0)))
    return factors, margins


def _write_out(
    graph: ir.Graph,
    node: ir.Node,
    factors: Sequence[np.ndarray],
    margins: Sequence[tuple[int, int]],
) -> None:
    """Without ``factors``, the windows count alike."""
    name = node.name or node.outputs[0].name
    pads = [0, 0, *(first for first, _ in margins), 0, 0, *(last for _, last in margins)]
    widths = add_constant(graph, f"{name}/pads", np.array(pads, np.int64))
    kernel, strides = (node.attributes.get_ints(n, None) for n in ("kernel_shape", "strides"))
    shape = {"kernel_shape": kernel, "strides": strides, "count_include_pad": 1}
    tape = ir.tape.Tape()
    # Without a value: the toolkit fails at one, even at 0.
    padded = tape.op("Pad", [node.inputs[0], widths], {"mode": "constant"}, name=f"{name}/pad")
    given = {key: value for key, value in shape.items() if value is not None}
    result = tape.op("AveragePool", [padded], given, name=f"{name}/pool")
    if factors:
        product = functools.reduce(np.multiply.outer, factors)
        factor = add_constant(graph, f"{name}/factor", product)
        result = tape.op("Mul", [result, factor], name=node.name)
    replace_node(node, tape.nodes, [result])
