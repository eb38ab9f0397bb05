"""How many multiplications an operator makes with weights, or with another activation."""

from __future__ import annotations

import math

from ..graph.network import Op

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PRODUCTS = ("matmul", "bmm", "mm", "mv", "dot")


def count_macs(op: Op) -> int:
    """Of one image; 0 of what multiplies element by element."""
    weight = op.shape_of("weight")
    if op.kind in _CONVOLUTIONS:  # each weight of a filter meets each pixel of the output
        return math.prod(op.shape) * math.prod(weight[1:])
    if op.kind in _TRANSPOSED:  # ... of the input
        return math.prod(op.shape_of("input")) * math.prod(weight[1:])
    if op.kind in ("linear", "addmm"):
        return math.prod(op.shape) * (weight or op.shape_of("mat1"))[-1]
    if op.kind in _PRODUCTS:
        first = op.shape_of("self") or op.shape_of("input")
        return math.prod(op.shape) * (first[-1] if first else 1)
    if op.kind == "scaled_dot_product_attention":
        tokens = op.shape_of("key")[-2]
        return math.prod(op.shape_of("query")) * tokens + math.prod(op.shape) * tokens
    return 0
