"""Convolutions; padding that is alike on both sides is the convolution's own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator
from .windows import pad_list, read_windows

_CONVOLUTIONS: dict[int, Function] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Function] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def convolve(node: OnnxNode, weight: int = 1) -> Function:
    """The convolution of ``(x, weight, bias)``; ``weight``: which input that is."""
    axes = node.rank(0) - 2
    if axes not in _CONVOLUTIONS:
        node.fail(f"an input of {axes + 2} dimensions is not supported")
    windows = read_windows(node, node.shape(weight)[2:])
    function, groups = _CONVOLUTIONS[axes], node.attribute("group", 1)
    stride, dilation = windows.stride, windows.dilation
    if windows.is_symmetric and min(windows.before) >= 0:
        padding = windows.before
        return lambda x, weight, bias=None: function(
            x, weight, bias, stride, padding, dilation, groups
        )
    pads = pad_list(windows.before, windows.after)
    return lambda x, weight, bias=None: function(
        F.pad(x, pads), weight, bias, stride, 0, dilation, groups
    )


@operator("Conv", parameters=("", "weight", "bias"))
def conv(node: OnnxNode) -> Function:
    return convolve(node)


@operator("ConvTranspose", parameters=("", "weight", "bias"))
def conv_transpose(node: OnnxNode) -> Function:
    """What is cut off both ends alike is the convolution's padding, the rest a slice."""
    axes = node.rank(0) - 2
    if axes not in _TRANSPOSED:
        node.fail(f"an input of {axes + 2} dimensions is not supported")
    function, groups = _TRANSPOSED[axes], node.attribute("group", 1)
    stride = node.attribute("strides") or [1] * axes
    dilation = node.attribute("dilations") or [1] * axes
    before, after, longer = _cut(node, stride, dilation)
    padding = [min(pair) for pair in zip(before, after, strict=True)]
    rest = [e - o - p for e, o, p in zip(after, longer, padding, strict=True)]
    output_padding = [max(-n, 0) for n in rest]
    starts = [b - p for b, p in zip(before, padding, strict=True)]
    ends = [max(n, 0) for n in rest]

    def transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = function(x, weight, bias, stride, padding, output_padding, groups, dilation)
        return F.pad(y, pads) if any(pads) else y

    pads = pad_list([-n for n in starts], [-n for n in ends])
    return transposed


def _cut(
    node: OnnxNode, stride: list[int], dilation: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """By axis: what to cut off in front, behind, and ``output_padding``."""
    size, kernel = node.shape(0)[2:], node.shape(1)[2:]
    longer = node.attribute("output_padding") or [0] * len(size)
    pads = node.attribute("pads") or [0] * (2 * len(size))
    mode, wanted = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape")
    if mode in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [n * s for n, s in zip(size, stride, strict=True)]
    if mode == "VALID" and not wanted:
        pads = [0] * (2 * len(size))
    if not wanted:
        return pads[: len(size)], pads[len(size) :], longer
    totals = [
        s * (n - 1) + o + (k - 1) * d + 1 - w
        for s, n, o, k, d, w in zip(
            stride, size, longer, kernel, dilation, wanted[-len(size) :], strict=True
        )
    ]
    # The output may be longer than all windows: what lacks is the output's padding.
    longer = [o + max(-t, 0) for o, t in zip(longer, totals, strict=True)]
    totals = [max(t, 0) for t in totals]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (less, more, longer) if mode == "SAME_UPPER" else (more, less, longer)
