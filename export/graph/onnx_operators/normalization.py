"""Normalization over a batch's statistics, channels, groups or the last axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator


@operator(
    "BatchNormalization",
    parameters=("", "weight", "bias", "running_mean", "running_var"),
    buffers=("running_mean", "running_var"),
)
def batch_norm(node: OnnxNode) -> Function:
    """Evaluation mode, whatever the file says: training's statistics are of no use on a chip."""
    if node.attribute("training_mode", 0):
        node.fail("it is in training mode; export the network in evaluation mode (model.eval())")
    eps = node.number_attribute("epsilon", 1e-5)

    def function(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    return function


@operator("InstanceNormalization", parameters=("", "weight", "bias"))
def instance_norm(node: OnnxNode) -> Function:
    eps = node.number_attribute("epsilon", 1e-5)
    return lambda x, weight, bias: F.instance_norm(x, None, None, weight, bias, True, 0.0, eps)


@operator("LayerNormalization", parameters=("", "weight", "bias"))
def layer_norm(node: OnnxNode) -> Function:
    if node.has_output(1) or node.has_output(2):
        node.fail("the mean and the deviation as outputs are not supported")
    shape = node.shape(0)[node.axis(0, -1) :]
    eps = node.number_attribute("epsilon", 1e-5)
    if node.shape(1) == shape and (not node.has(2) or node.shape(2) == shape):
        return lambda x, weight, bias=None: F.layer_norm(x, shape, weight, bias, eps)

    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = F.layer_norm(x, shape, None, None, eps) * weight
        return y if bias is None else y + bias

    return function


@operator("RMSNormalization", parameters=("", "weight"))
@operator("SimplifiedLayerNormalization", parameters=("", "weight"))
def rms_norm(node: OnnxNode) -> Function:
    shape = node.shape(0)[node.axis(0, -1) :]
    eps = node.number_attribute("epsilon", 1e-5)
    if node.shape(1) == shape:
        return lambda x, weight: F.rms_norm(x, shape, weight, eps)
    return lambda x, weight: F.rms_norm(x, shape, None, eps) * weight


@operator("GroupNormalization", parameters=("", "weight", "bias"))
def group_norm(node: OnnxNode) -> Function:
    """Before opset 21 weight and bias are one a group."""
    groups, channels = node.attribute("num_groups"), node.shape(0)[1]
    eps = node.number_attribute("epsilon", 1e-5)
    for index in (1, 2):
        value = node.constant(index)
        if value is None:
            node.fail("weight and bias have to be constant")
        if value.shape != (channels,):
            node.replace(index, value.repeat_interleave(channels // value.numel()))
    return lambda x, weight, bias: F.group_norm(x, groups, weight, bias, eps)


@operator("LpNormalization")
def lp_norm(node: OnnxNode) -> Function:
    order, axis = node.attribute("p", 2), node.axis(0, -1)
    return lambda x: F.normalize(x, float(order), axis)


@operator("MeanVarianceNormalization")
def mean_variance_norm(node: OnnxNode) -> Function:
    axes = node.attribute("axes", [0, 2, 3])

    def function(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)

    return function
