"""Whole numbers for real ones, and the operators on them, computed as ONNX defines them."""

from __future__ import annotations

import torch
from torch import Tensor

from .convolution import convolve
from .registry import DTYPES, Function, OnnxNode, operator


def _along(value: Tensor, rank: int, axis: int) -> Tensor:
    """One scale a channel, beside a tensor."""
    if value.dim() == 0 or value.numel() == 1:
        return value.reshape(())
    view = [1] * rank
    view[axis] = -1
    return value.reshape(view)


def _round(x: Tensor, zero: Tensor | int, kind: torch.dtype) -> Tensor:
    limits = torch.iinfo(kind)
    return torch.clamp(torch.round(x) + zero, limits.min, limits.max).to(kind)


def _prepare(node: OnnxNode) -> None:
    """Scale and zero point in the shape that goes beside the tensor."""
    rank = node.rank(0)
    if node.attribute("block_size", 0):
        node.fail("scales of blocks are not supported")
    axis = node.axis(0, 1) if rank > 1 else 0
    for index in (1, 2):
        value = node.constant(index)
        if value is not None:
            value = value if index == 1 else value.to(torch.float32)
            node.replace(index, _along(value, rank, axis))
        elif node.has(index) and node.shape(index) not in ((), (1,)):
            node.fail("scales of channels have to be constant")


@operator("QuantizeLinear", parameters=("", "scale", "zero_point"), buffers=("scale",))
def quantize(node: OnnxNode) -> Function:
    named = node.attribute("output_dtype", 0)
    kind = node.dtype(2) if node.has(2) else DTYPES[named] if named else torch.uint8
    _prepare(node)
    if kind.is_floating_point:
        node.fail("quantizing to floats is not supported")
    return lambda x, scale, zero=0: _round(x / scale, zero, kind)


@operator("DequantizeLinear", parameters=("", "scale", "zero_point"), buffers=("scale",))
def dequantize(node: OnnxNode) -> Function:
    _prepare(node)

    def function(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        value = x.to(scale.dtype)
        return (value if zero is None else value - zero) * scale

    return function


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: OnnxNode) -> Function:
    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        low, high = torch.clamp(x.amin(), max=0.0), torch.clamp(x.amax(), min=0.0)
        scale = (high - low) / 255
        zero = torch.clamp(torch.round(-low / scale), 0, 255)
        return _round(x / scale, zero, torch.uint8), scale, zero.to(torch.uint8)

    return function


def _centred(x: Tensor, zero: Tensor | None) -> Tensor:
    return x.float() if zero is None else x.float() - zero.float()


@operator("MatMulInteger")
def matmul_integer(node: OnnxNode) -> Function:
    def function(
        a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
    ) -> Tensor:
        if a_zero is not None and a_zero.dim() == 1 and a_zero.numel() > 1:
            a_zero = a_zero.unsqueeze(-1)
        # Sums of products of 8-bit numbers are exact in float64.
        return (_centred(a, a_zero).double() @ _centred(b, b_zero).double()).to(torch.int32)

    return function


@operator("ConvInteger")
def conv_integer(node: OnnxNode) -> Function:
    conv = convolve(node)

    def function(
        x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
    ) -> Tensor:
        zero = w_zero.reshape(-1, *[1] * (weight.dim() - 1)) if w_zero is not None else None
        centred = _centred(x, x_zero).double(), _centred(weight, zero).double()
        return conv(*centred).to(torch.int32)

    return function


@operator("QLinearConv")
def qlinear_conv(node: OnnxNode) -> Function:
    """Inputs: x, its scale and zero, weight, its scale and zero, scale and zero of y, bias."""
    conv, kind, rank = convolve(node, 3), node.dtype(7), node.rank(3)

    def function(
        x: Tensor,
        x_scale: Tensor,
        x_zero: Tensor,
        w: Tensor,
        w_scale: Tensor,
        w_zero: Tensor,
        y_scale: Tensor,
        y_zero: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        weight = _centred(w, _along(w_zero, rank, 0))
        total = conv(_centred(x, x_zero), weight, None if bias is None else bias.float())
        factor = _along(x_scale * w_scale / y_scale, rank, 1)
        return _round(total * factor, y_zero.float(), kind)

    return function


@operator("QLinearMatMul")
def qlinear_matmul(node: OnnxNode) -> Function:
    kind = node.dtype(7)

    def function(
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor,
        y_scale: Tensor,
        y_zero: Tensor,
    ) -> Tensor:
        total = _centred(a, a_zero) @ _centred(b, b_zero)
        return _round(total * (a_scale * b_scale / y_scale), y_zero.float(), kind)

    return function
