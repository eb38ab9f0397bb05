"""Averages that compilers get wrong, as what they get right: equal on every map.

Those are averages that are padded, or whose windows do not all count alike (``ceil_mode``,
``count_include_pad=False``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .onnx_passes import add_constant, onnx_pass, replace_node, static_shape


@onnx_pass
def write_out_averages(model: ir.Model) -> None:
    """A copy in which each whose windows differ is a padding, an average and a product.

    So is each padded one of volumes.

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


@onnx_pass
def filter_averages(model: ir.Model) -> None:
    """A copy in which each of maps is a depthwise convolution; where windows differ, a product too.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
        if node.op_type != "AveragePool" or before is None or after is None or len(before) != 4:
            continue
        factors, margins = _sides(node, before[2:], after[2:])
        if not any(map(any, margins)) and all((side == 1).all() for side in factors):
            continue
        name, channels = node.name or node.outputs[0].name, before[1]
        kernel = node.attributes.get_ints("kernel_shape", [])
        weights = np.full((channels, 1, *kernel), 1 / math.prod(kernel), np.float32)
        given = {
            "group": channels,
            "kernel_shape": kernel,
            "strides": node.attributes.get_ints("strides", [1, 1]),
            "pads": [*(first for first, _ in margins), *(last for _, last in margins)],
        }
        tape = ir.tape.Tape()
        filters = add_constant(model.graph, f"{name}/filters", weights)
        result = tape.op("Conv", [node.inputs[0], filters], given, name=name)
        if any((side != 1).any() for side in factors):
            product = functools.reduce(np.multiply.outer, factors)
            factor = add_constant(model.graph, f"{name}/factor", product)
            result = tape.op("Mul", [result, factor], name=f"{name}/product")
        replace_node(node, tape.nodes, [result])


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
