"""Layers that every converter maps onto its chip, and what each of them replaces.

| layer            | instead of                  | because                                         |
|------------------|-----------------------------|-------------------------------------------------|
| ``ConvBnAct``    | three modules by hand       | folds into one operator on every NPU            |
| ``ConvHead``     | ``flatten``, ``nn.Linear``  | a Reshape falls to the CPU on RKNN; old         |
|                  |                             | converters reject ``view``                      |
| ``FixedAvgPool`` | ``AdaptiveAvgPool2d``       | the exporter writes ReduceMean for that, which  |
|                  |                             | some importers run in float on the CPU          |
| ``FixedUpsample``| ``interpolate(x, size)``    | sizes are computed at run time: Shape, Slice    |
|                  |                             | and Concat, which NPUs do not take              |
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import ModelError

Act = Literal["relu", "relu6", "silu", "hardswish", "leaky_relu", "none"]
Interpolation = Literal["nearest", "bilinear", "bilinear_ac"]

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "none": nn.Identity,
}


def make_act(act: Act) -> nn.Module:
    """An activation by name. All of these fuse into the preceding convolution on RKNN."""
    try:
        return _ACTIVATIONS[act]()
    except KeyError:
        names = ", ".join(_ACTIVATIONS)
        raise ModelError(f"unknown activation {act!r}; use one of {names}") from None


class ConvBnAct(nn.Sequential):
    """Convolution, batch normalisation, activation: ``[N, C, H, W] -> [N, C', H', W']``.

    The padding is symmetric (``kernel_size // 2`` unless given): the asymmetric padding of
    TensorFlow's SAME falls off the K210's KPU. The convolution has no bias, since the
    normalisation has one; both fold into a single convolution at export.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        act: Act = "relu",
    ) -> None:
        super().__init__()
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        pad = (size[0] // 2, size[1] // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(
            in_channels, out_channels, size, stride, pad, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = make_act(act)


class ConvHead(nn.Conv2d):
    """A fully connected layer as the equal convolution: ``[N, C, h, w] -> [N, num_classes, 1, 1]``.

    The kernel covers the whole feature map, so the output is one pixel. It stays 4-D in the graph:
    the decoder flattens it (see :mod:`edgeark.zoo.tasks.classification`).

    Args:
        in_channels: channels ``C`` of the feature map.
        out_channels: outputs, for instance the number of classes.
        feature_size: ``(h, w)`` of the feature map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        feature_size: tuple[int, int] = (1, 1),
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, feature_size, bias=bias)

    @classmethod
    def from_linear(cls, linear: nn.Linear, feature_shape: tuple[int, int, int]) -> ConvHead:
        """The convolution that equals ``linear(features.flatten(1))``.

        Args:
            linear: a trained layer with ``C * h * w`` inputs.
            feature_shape: ``(C, h, w)`` of what was flattened in front of it.

        Raises:
            ValueError: if the layer's inputs are not ``C * h * w``.
        """
        channels, height, width = feature_shape
        if linear.in_features != channels * height * width:
            raise ValueError(
                f"the linear layer has {linear.in_features} inputs, "
                f"a {channels}x{height}x{width} map has {channels * height * width}"
            )
        head = cls(channels, linear.out_features, (height, width), bias=linear.bias is not None)
        head.to(linear.weight.device, linear.weight.dtype)
        with torch.no_grad():
            head.weight.copy_(linear.weight.view_as(head.weight))
            if head.bias is not None:
                head.bias.copy_(linear.bias)
        return head


class FixedAvgPool(nn.AvgPool2d):
    """Global average pooling over a map whose size is known: ``[N, C, h, w] -> [N, C, 1, 1]``.

    Raises:
        ValueError: at run time, for a map of another size: the answer would silently be a crop's.
    """

    def __init__(self, feature_size: tuple[int, int]) -> None:
        super().__init__(kernel_size=feature_size)
        self.feature_size = tuple(feature_size)

    def forward(self, input: Tensor) -> Tensor:
        check_size(input, self.feature_size, "map")
        return super().forward(input)


class FixedUpsample(nn.Upsample):
    """Twice the height and width of a map of known size: ``[N, C, h, w] -> [N, C, 2h, 2w]``.

    The factor 2 is what is written, not the size: the TorchScript exporter (opset 15 and below)
    writes a constant factor as a constant, but asks the graph for batch and channels (Shape, Slice,
    Concat) where it is given a size; the dynamo exporter writes a constant for both. Of Resize's
    two forms the K210's converter takes ``scales`` alone, and that is what a factor becomes.

    Args:
        feature_size: ``(h, w)`` of the input.
        mode: ``nearest`` is right everywhere. ``bilinear`` has pixel centres at half-integers
            (``align_corners=False``): fast on NPUs, wrong on the K210. ``bilinear_ac`` lets the
            corners' centres meet (``align_corners=True``): for networks trained so and for
            Rockchip's first toolkit; its second runs it on the CPU.

    Raises:
        ModelError: unknown mode.
        ValueError: at run time, for a map of another size.
    """

    def __init__(self, feature_size: tuple[int, int], mode: Interpolation = "nearest") -> None:
        if mode not in get_args(Interpolation):
            names = ", ".join(get_args(Interpolation))
            raise ModelError(f"unknown interpolation {mode!r}; use one of {names}")
        if mode == "nearest":
            super().__init__(scale_factor=2.0, mode="nearest")
        else:
            corners = mode == "bilinear_ac"
            super().__init__(scale_factor=2.0, mode="bilinear", align_corners=corners)
        self.feature_size = tuple(feature_size)

    def forward(self, input: Tensor) -> Tensor:
        check_size(input, self.feature_size, "map")
        return super().forward(input)


def check_size(x: Tensor, size: tuple[int, ...], what: str) -> None:
    """Refuse a tensor whose last two dimensions are not ``size``; no trace of it in a graph.

    Raises:
        ValueError: another size, outside of tracing and compiling.
    """
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if tracing or torch.compiler.is_compiling():
        return
    found = tuple(x.shape[-2:])
    if found != size:
        raise ValueError(f"built for a {size} {what}, got {found}")
