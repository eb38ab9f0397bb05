"""Adaptive pools for PyTorch's ONNX exporter, which writes few of them: ONNX has none.

Of a whole map it is a mean; where the sizes divide the map's, a pool with a fixed kernel. Else the
windows have two lengths: an average is a product with a constant matrix along each side; a maximum
is taken over pixels of which some are repeated, so that all windows are as long as the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18
from onnxscript.function_libs.torch_lib.ops import nn as torch_lib

_aten = torch.ops.aten
_MAX_POOLS = {
    1: torch_lib.aten_max_pool1d_with_indices,
    2: torch_lib.aten_max_pool2d_with_indices,
    3: torch_lib.aten_max_pool3d_with_indices,
}
Value = Any  # a tensor of the graph that onnxscript traces
op: Any = opset18


def write_average(x: Value, output_size: Sequence[int]) -> Value:
    before, after = _sides(x, output_size)
    if set(after) == {1}:
        return op.ReduceMean(x, _constant(np.arange(-len(after), 0)))
    if _is_even(before, after):
        kernel = [n // m for n, m in zip(before, after, strict=True)]
        pads = [0] * 2 * len(kernel)  # the default, without which MNN dies of volumes
        pool = {"kernel_shape": kernel, "strides": kernel, "pads": pads}
        if len(x.shape) == len(kernel) + 2:
            return op.AveragePool(x, **pool)
        batch = _constant(np.array([0]))  # PyTorch takes maps without one, ONNX does not
        return op.Squeeze(op.AveragePool(op.Unsqueeze(x, batch), **pool), batch)
    lead = [*x.shape][: -len(before)]
    for axis, (n, m) in enumerate(zip(before, after, strict=True)):
        if n != m:
            x = _weigh(x, [*lead, *after[:axis], *before[axis:]], len(lead) + axis, _matrix(n, m))
    return x


def _weigh(x: Value, shape: Sequence[int], axis: int, matrix: np.ndarray) -> Value:
    """The product of ``x``, which has this shape, with ``matrix`` along ``axis``."""
    if axis == len(shape) - 1:
        return op.MatMul(x, _constant(matrix))
    turned = _constant(np.ascontiguousarray(matrix.T))
    if axis == len(shape) - 2:
        return op.MatMul(turned, x)
    flat, after = [*shape[: axis + 1], -1], [*shape[:axis], matrix.shape[1], *shape[axis + 1 :]]
    product = op.MatMul(turned, op.Reshape(x, _constant(np.array(flat))))
    return op.Reshape(product, _constant(np.array(after)))


def write_maximum(x: Value, output_size: Sequence[int]) -> tuple[Value, Value]:
    """The maxima, and where in the map they are, which is dropped where nobody asks."""
    before, after = _sides(x, output_size)
    kernel, taken, shape = [], [], [*x.shape]
    for axis, (n, m) in enumerate(zip(before, after, strict=True), len(x.shape) - len(before)):
        starts, ends = _windows(n, m)
        longest = int((ends - starts).max())
        places = np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1).flatten()
        if n % m:
            shape[axis] = m * longest
            x = op.Gather(x, _constant(places), axis=axis)
            x.shape = ir.Shape(shape)
        kernel.append(longest)
        taken.append(places)
    pooled, indices = _MAX_POOLS[len(kernel)](x, kernel, kernel)
    if after == [1, 1, 1]:  # fewer runtimes have a max pool of volumes
        pooled = op.ReduceMax(x, _constant(np.arange(-3, 0)))
    if _is_even(before, after):
        return pooled, indices
    origins = np.ravel_multi_index(np.ix_(*taken), before).flatten()
    return pooled, op.Gather(_constant(origins), indices)


ADAPTIVE_POOLS: dict[Callable[..., Any], Callable[..., Any]] = {
    _aten.adaptive_avg_pool1d.default: write_average,
    _aten.adaptive_avg_pool2d.default: write_average,
    _aten._adaptive_avg_pool2d.default: write_average,
    _aten.adaptive_avg_pool3d.default: write_average,
    _aten._adaptive_avg_pool3d.default: write_average,
    _aten.adaptive_max_pool1d.default: write_maximum,
    _aten.adaptive_max_pool2d.default: write_maximum,
    _aten.adaptive_max_pool3d.default: write_maximum,
}
"""For ``torch.onnx.export``: how each of torch's operators is written; shapes are static."""


def _sides(x: Value, size: Sequence[int]) -> tuple[list[int], list[int]]:
    """The sides of the map before and after."""
    return [int(n) for n in [*x.shape][-len(size) :]], [int(m) for m in size]


def _is_even(before: Sequence[int], after: Sequence[int]) -> bool:
    return all(n % m == 0 for n, m in zip(before, after, strict=True))


def _matrix(n: int, m: int) -> np.ndarray:
    """``[n, m]``: what the average of each window takes of each pixel."""
    starts, ends = _windows(n, m)
    pixels = np.arange(n)[:, None]
    is_inside = (pixels >= starts) & (pixels < ends)
    return (is_inside / (ends - starts)).astype(np.float32)


def _windows(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of ``m`` windows over ``n`` pixels starts and ends, as PyTorch has them."""
    index = np.arange(m)
    return index * n // m, -(-(index + 1) * n // m)


def _constant(array: np.ndarray) -> Value:
    return op.Constant(value=ir.tensor(array))
