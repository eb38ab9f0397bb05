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
| ``SPPF``         | ``SPP``                     | RKNN's converter errs on more map sizes with    |
|                  |                             | large stride-1 max pools; fewer comparisons     |
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
        ValueError: for a map of another size, save in training: that may begin with small images.
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
        if not self.training:
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


class SPPF(nn.Module):
    """Maxima of 5x5, 9x9 and 13x13 windows beside the map itself, between 1x1 convolutions.

    ``[N, C, H, W] -> [N, C, H, W]``. The idea is spatial pyramid pooling (He et al., 2014); three
    5x5 max pools in a row have the larger windows' maxima (YOLOv5).

    RKNN's converter (2.3.2 and 2.5.0) silently makes a stride-1 max pool of kernel ``k`` global on
    a map with ``k // 2 + 1 < side < k``: with 5 that is a map of side 4.
    """

    def __init__(self, channels: int, act: Act) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = ConvBnAct(channels, hidden, 1, act=act)
        self.cv2 = ConvBnAct(4 * hidden, channels, 1, act=act)
        self.pools = self._make_pools()

    def _make_pools(self) -> nn.ModuleList:
        return nn.ModuleList([nn.MaxPool2d(5, 1, 2) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        for pool in self.pools:
            maps.append(pool(maps[-1]))
        return self.cv2(torch.cat(maps, 1))


class SPP(SPPF):
    """:class:`SPPF`'s function and weights by three max pools side by side, as in older graphs.

    On RKNN its pools of 5, 9 and 13 err on maps of side 4 and 6 to 12.
    """

    def _make_pools(self) -> nn.ModuleList:
        return nn.ModuleList([nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        return self.cv2(torch.cat((x, *(pool(x) for pool in self.pools)), 1))
