"""Pools, and local response normalization, which is one over channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ceil_mode import Side
from .registry import Function, OnnxNode, operator
from .windows import Windows, pad_list, read_windows

_MAX: dict[int, Function] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Function] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL_AVERAGE: dict[int, Function] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_GLOBAL_MAX: dict[int, Function] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


def _of_rank(node: OnnxNode, functions: dict[int, Function]) -> Function:
    function = functions.get(node.rank(0) - 2)
    if function is None:
        node.fail(f"an input of {node.rank(0)} dimensions is not supported")
    return function


def _fits_torch(windows: Windows) -> bool:
    """torch pads both sides alike, by half a kernel at most."""
    small = all(0 <= 2 * p <= k for p, k in zip(windows.before, windows.kernel, strict=True))
    return windows.is_symmetric and small


def _overhang(node: OnnxNode, windows: Windows) -> tuple[int, ...]:
    """How far the last windows of ``ceil_mode`` reach beyond the padding.

    A window that would start behind the input and the padding in front of it is left out.
    """
    if not node.attribute("ceil_mode", 0):
        return (0,) * len(windows.kernel)
    sizes = node.shape(0)[2:], windows.kernel, windows.stride, windows.before, windows.after
    sides = zip(*sizes, windows.dilation, strict=True)
    return tuple(Side(*side).overhang for side in sides)


@operator("MaxPool")
def max_pool(node: OnnxNode) -> Function:
    if node.has_output(1):
        node.fail("the indices of a pool are not supported")
    function, windows = _of_rank(node, _MAX), read_windows(node)
    kernel, stride, dilation = windows.kernel, windows.stride, windows.dilation
    ceil = bool(node.attribute("ceil_mode", 0))
    kind = node.dtype(0)
    if _fits_torch(windows):
        padding = windows.before
        return lambda x: function(x, kernel, stride, padding, dilation, ceil)
    lowest = -math.inf if kind.is_floating_point else torch.iinfo(kind).min
    after = [a + o for a, o in zip(windows.after, _overhang(node, windows), strict=True)]
    pads = pad_list(windows.before, after)
    return lambda x: function(F.pad(x, pads, value=lowest), kernel, stride, 0, dilation)


@operator("AveragePool")
def average_pool(node: OnnxNode) -> Function:
    function, windows = _of_rank(node, _AVERAGE), read_windows(node)
    kernel, stride = windows.kernel, windows.stride
    ceil, whole = bool(node.attribute("ceil_mode", 0)), bool(node.attribute("count_include_pad", 0))
    is_dense = set(windows.dilation) == {1}
    if is_dense and _fits_torch(windows):
        padding = windows.before
        return lambda x: function(x, kernel, stride, padding, ceil, whole)
    overhang = _overhang(node, windows)
    after = [a + o for a, o in zip(windows.after, overhang, strict=True)]
    pads = pad_list(windows.before, after)
    counted = torch.ones(1, 1, *node.shape(0)[2:])
    if whole:
        counted = F.pad(counted, pad_list(windows.before, windows.after), value=1.0)
        counted = F.pad(counted, pad_list([0] * len(kernel), overhang))
    else:
        counted = F.pad(counted, pads)
    if not is_dense:
        return _dilated_average(node, windows, pads, counted)
    share = function(counted, kernel, stride)
    if bool((share == 1).all()):
        return lambda x: function(F.pad(x, pads), kernel, stride)
    node.add(1 / share)
    return lambda x, factor: function(F.pad(x, pads), kernel, stride) * factor


def _dilated_average(
    node: OnnxNode, windows: Windows, pads: list[int], counted: Tensor
) -> Function:
    """The sum of shifted maps, each taken once a window."""
    ones = torch.ones(1, 1, *windows.kernel)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(windows.kernel)]
    stride, dilation, channels = windows.stride, windows.dilation, node.shape(0)[1]
    node.add(ones.expand(channels, *ones.shape[1:]).contiguous())
    node.add(1 / convolve(counted, ones, None, stride, 0, dilation))

    def function(x: Tensor, weight: Tensor, factor: Tensor) -> Tensor:
        return convolve(F.pad(x, pads), weight, None, stride, 0, dilation, channels) * factor

    return function


@operator("GlobalAveragePool")
def global_average_pool(node: OnnxNode) -> Function:
    function = _of_rank(node, _GLOBAL_AVERAGE)
    return lambda x: function(x, 1)


@operator("GlobalMaxPool")
def global_max_pool(node: OnnxNode) -> Function:
    function = _of_rank(node, _GLOBAL_MAX)
    return lambda x: function(x, 1)


@operator("GlobalLpPool")
def global_lp_pool(node: OnnxNode) -> Function:
    order, axes = node.attribute("p", 2), list(range(2, node.rank(0)))
    return lambda x: torch.linalg.vector_norm(x, order, axes, True)


@operator("LpPool")
def lp_pool(node: OnnxNode) -> Function:
    order, windows = node.attribute("p", 2), read_windows(node)
    if set(windows.dilation) != {1} or node.attribute("ceil_mode", 0):
        node.fail("dilations and ceil_mode are not supported")
    function, area = _of_rank(node, _AVERAGE), math.prod(windows.kernel)
    pads = pad_list(windows.before, windows.after)
    kernel, stride = windows.kernel, windows.stride

    def pool(x: Tensor) -> Tensor:
        powers = F.pad(x.abs().pow(order), pads)
        return (function(powers, kernel, stride) * area).pow(1 / order)

    return pool


@operator("LRN")
def local_response_norm(node: OnnxNode) -> Function:
    size, beta = node.attribute("size"), node.number_attribute("beta", 0.75)
    alpha, bias = node.number_attribute("alpha", 1e-4), node.number_attribute("bias", 1.0)
    if size % 2 == 0:
        node.fail("an even number of channels is not supported")
    return lambda x: F.local_response_norm(x, size, alpha, beta, bias)
