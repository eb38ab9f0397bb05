"""Examples of what Vela leaves to the microcontroller, or refuses."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example
from .rules import SMALL_CHIPS

_Example = partial(Example, precision="int8")

EXAMPLES: tuple[Example, ...] = (
    _Example("int8-exponential", f.elu, f.silu),
    _Example("int8-exponential", f.mish, f.hardswish),
    _Example("int8-exponential", f.softplus, f.relu),
    _Example(
        "cpu-mean",
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((2, 3), True),
        cpu_ops=("Mean",),
    ),
    _Example(
        "cpu-operator",
        lambda x: f.leaky_relu(x, 0.1),
        torch.relu,
        cpu_ops=("LeakyRelu",),
    ),
    _Example(
        "cpu-operator",
        lambda x: x.amax((2, 3)),
        nn.MaxPool2d(3, 2, 1),
        cpu_ops=("ReduceMax",),
    ),
    _Example(
        "cpu-operator",
        nn.GroupNorm(2, 8),
        nn.BatchNorm2d(8),
        cpu_ops=("Mean", "Mean"),
    ),
    _Example(
        "cpu-operator",
        nn.InstanceNorm2d(8),
        nn.PReLU(8),
        cpu_ops=("Mean", "Mean"),
    ),
    _Example("cpu-operator", torch.abs, torch.neg, cpu_ops=("Abs",)),
    _Example("cpu-operator", torch.sin, torch.tanh, cpu_ops=("Sin",)),
    _Example("cpu-operator", torch.exp, torch.sigmoid, cpu_ops=("Exp",)),
    _Example("cpu-operator", torch.floor, f.silu, cpu_ops=("Floor",)),
    _Example("cpu-operator", torch.round, f.hardswish, cpu_ops=("Round",)),
    _Example(
        "cpu-operator",
        lambda x: x.relu().sqrt(),
        nn.AvgPool2d(3, 1, 1),
        cpu_ops=("Sqrt",),
    ),
    _Example(
        "cpu-operator",
        lambda x: (x.relu() + 1).log(),
        nn.Conv2d(8, 8, 5, 5),
        cpu_ops=("Log",),
    ),
    _Example(
        "cpu-operator",
        lambda x: (x > 0).float(),
        lambda x: x[:, 1:3, ::2],
        cpu_ops=("Greater",),
    ),
    _Example(
        "cpu-operator",
        lambda x: x[:, [3, 1]],
        nn.PixelShuffle(2),
        cpu_ops=("GatherNd",),
    ),
    _Example(
        "cpu-resize",
        lambda x: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        lambda x: f.interpolate(x, scale_factor=2, mode="bilinear"),
        cpu_ops=("ResizeBilinear",),
    ),
    _Example(
        "cpu-resize",
        lambda x: f.interpolate(x, size=(30, 50), mode="bilinear"),
        lambda x: f.interpolate(x, size=(47, 79), mode="bilinear", align_corners=True),
        cpu_ops=("ResizeBilinear",),
    ),
    _Example(
        "cpu-resize",
        lambda x: f.interpolate(x, scale_factor=4, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=4),
        cpu_ops=("ResizeBilinear",),
        chips=SMALL_CHIPS,
    ),
    _Example(
        "cpu-resize",
        lambda x: f.interpolate(x, scale_factor=3),
        lambda x: f.interpolate(x, scale_factor=2),
        cpu_ops=("ResizeNearestNeighbor",),
        chips=SMALL_CHIPS,
    ),
    _Example(
        "cpu-transposed-convolution",
        nn.ConvTranspose2d(8, 8, 4, 4),
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
        cpu_ops=("TransposeConv2D",),
        chips=SMALL_CHIPS,
    ),
    _Example(
        "cpu-depthwise-stride",
        nn.Conv2d(8, 8, 4, 4, groups=8),
        nn.Conv2d(8, 8, 4, 4),
        cpu_ops=("DepthwiseConv2D",),
        chips=SMALL_CHIPS,
    ),
    _Example("argmax", lambda x: x.argmax(1).float(), lambda x: x[:, :1]),
)
