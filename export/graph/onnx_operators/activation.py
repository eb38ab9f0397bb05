"""Activation functions, softmax and dropout."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator

_SIMPLE: dict[str, Function] = {
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "HardSwish": F.hardswish,
    "Mish": F.mish,
}


def _enter_simple(op_type: str, function: Function) -> None:
    operator(op_type)(lambda node: function)


for _op_type, _function in _SIMPLE.items():
    _enter_simple(_op_type, _function)


@operator("LeakyRelu")
def leaky_relu(node: OnnxNode) -> Function:
    alpha = node.number_attribute("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


@operator("PRelu", parameters=("", "weight"))
def prelu(node: OnnxNode) -> Function:
    """``F.prelu`` where the slopes are one a channel, or one for all."""
    slope = node.constant(1)
    channels = node.shape(0)[1] if node.rank(0) > 1 else 1
    if slope is not None:
        by_channel = slope.dim() == node.rank(0) - 1 and slope.shape[0] == slope.numel() == channels
        full = slope.dim() == node.rank(0) > 1 and slope.shape[1] == slope.numel() == channels
        if slope.numel() == 1 or by_channel or full:
            node.replace(1, slope.reshape(-1))
            return F.prelu
    return lambda x, slope: torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(node: OnnxNode) -> Function:
    alpha = node.number_attribute("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


@operator("Celu")
def celu(node: OnnxNode) -> Function:
    alpha = node.number_attribute("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


@operator("Selu")
def selu(node: OnnxNode) -> Function:
    alpha = node.attribute("alpha", 1.6732631921768188)
    gamma = node.attribute("gamma", 1.0507010221481323)
    if math.isclose(alpha, 1.67326324, rel_tol=1e-5) and math.isclose(
        gamma, 1.05070098, rel_tol=1e-5
    ):
        return F.selu
    return lambda x: gamma * F.elu(x, alpha)


@operator("ThresholdedRelu")
def thresholded_relu(node: OnnxNode) -> Function:
    alpha = node.number_attribute("alpha", 1.0)
    return lambda x: F.threshold(x, alpha, 0.0)


@operator("HardSigmoid")
def hard_sigmoid(node: OnnxNode) -> Function:
    alpha, beta = node.number_attribute("alpha", 0.2), node.number_attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0)


@operator("Shrink")
def shrink(node: OnnxNode) -> Function:
    bias, lambd = node.number_attribute("bias", 0.0), node.number_attribute("lambd", 0.5)
    if bias == lambd:
        return lambda x: F.softshrink(x, lambd)
    if bias == 0:
        return lambda x: F.hardshrink(x, lambd)
    return lambda x: F.hardshrink(x, lambd) - bias * torch.sign(F.hardshrink(x, lambd))


@operator("Gelu")
@operator("Gelu", domain="com.microsoft")
def gelu(node: OnnxNode) -> Function:
    approximate = node.attribute("approximate", "none")
    return lambda x: F.gelu(x, approximate=approximate)


@operator("BiasGelu", domain="com.microsoft", parameters=("", "bias"))
def bias_gelu(node: OnnxNode) -> Function:
    return lambda x, bias: F.gelu(x + bias)


@operator("FastGelu", domain="com.microsoft", parameters=("", "bias"))
def fast_gelu(node: OnnxNode) -> Function:
    return lambda x, bias=None: F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("Swish")
@operator("QuickGelu", domain="com.microsoft")
def swish(node: OnnxNode) -> Function:
    alpha = node.number_attribute("alpha", 1.702 if node.domain else 1.0)
    return F.silu if alpha == 1 else lambda x: x * torch.sigmoid(alpha * x)


@operator("Clip")
def clip(node: OnnxNode) -> Function:
    """``F.relu6`` where it is one."""
    low, high = node.attribute("min"), node.attribute("max")
    if node.opset < 11:
        low = None if low is None else node.number_attribute("min", 0)
        high = None if high is None else node.number_attribute("max", 0)
    elif any(node.has(i) and node.constant(i) is None for i in (1, 2)):
        return lambda x, low=None, high=None: torch.clamp(x, low, high)
    else:
        low, high = node.number(1), node.number(2)
    if low is None and high is None:
        return lambda x: x
    if node.dtype(0).is_floating_point and (low, high) == (0, 6):
        return F.relu6
    return lambda x: torch.clamp(x, low, high)


def _along(node: OnnxNode, function: Function) -> Function:
    """Along one axis; before opset 13, along all axes from that one on."""
    if node.opset >= 13:
        axis = node.axis(0, -1)
        return lambda x: function(x, axis)
    axis, shape = node.axis(0, 1), node.shape(0)
    if math.prod(shape[axis + 1 :]) == 1:
        return lambda x: function(x, axis)
    return lambda x: function(x.flatten(axis), axis).reshape(shape)


@operator("Softmax")
def softmax(node: OnnxNode) -> Function:
    return _along(node, F.softmax)


@operator("LogSoftmax")
def log_softmax(node: OnnxNode) -> Function:
    return _along(node, F.log_softmax)


@operator("Hardmax")
def hardmax(node: OnnxNode) -> Function:
    def function(x: Tensor, axis: int) -> Tensor:
        largest = torch.argmax(x, axis, keepdim=True)
        return torch.zeros_like(x).scatter(axis, largest, 1.0)

    return _along(node, function)


@operator("Dropout")
def dropout(node: OnnxNode) -> Function:
    """Evaluation mode: the input as it is."""
    node.drop(1)
    if node.has(2) and node.number(2):
        node.fail("it is in training mode; export the network in evaluation mode (model.eval())")
    if node.has_output(1):
        return lambda x, *_: (x, torch.ones_like(x, dtype=torch.bool))
    return lambda x, *_: x
