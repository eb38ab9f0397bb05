"""The first layer of a detector, which halves the image, in the three ways that chips need."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..errors import ModelError
from .layers import Act, ConvBnAct

Stem = Literal["6x6", "focus", "3x3"]


def make_stem(stem: Stem, in_channels: int, out_channels: int, act: Act) -> ConvBnAct:
    """``[N, C, H, W] -> [N, C', H / 2, W / 2]``.

    ``6x6`` suits ncnn, OpenCV and RKNN and falls to the CPU on the K210, which needs ``3x3``;
    ``focus`` is that of older weights and computes exactly what a 6x6 convolution can.

    Raises:
        ModelError: an unknown stem.
    """
    if stem == "6x6":
        return ConvBnAct(in_channels, out_channels, 6, 2, padding=2, act=act)
    if stem == "focus":
        return Focus(in_channels, out_channels, act)
    if stem == "3x3":
        return ConvBnAct(in_channels, out_channels, 3, 2, act=act)
    raise ModelError(f"unknown stem {stem!r}; use 6x6, focus or 3x3")


class Focus(ConvBnAct):
    """:func:`space_to_depth`, then 3x3: ``[N, C, H, W] -> [N, C', H / 2, W / 2]``."""

    def __init__(self, in_channels: int, out_channels: int, act: Act) -> None:
        super().__init__(4 * in_channels, out_channels, 3, act=act)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(space_to_depth(input))


def space_to_depth(x: Tensor) -> Tensor:
    """Each 2x2 pixels become one: ``[N, C, H, W] -> [N, 4C, H / 2, W / 2]``.

    The order of the four is that of published weights: down before right.
    """
    return torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1)


def unfold_focus(weight: Tensor) -> Tensor:
    """The kernel that does in one step what ``weight`` does behind :func:`space_to_depth`.

    ``[O, 4C, k, k] -> [O, C, 2k, 2k]``: tap ``(u, v)`` of the quarter of pixel ``(row, column)`` is
    tap ``(2u + row, 2v + column)``. Stride and padding double; the sums are the same, border too.
    """
    out_channels, quarters, height, width = weight.shape
    taps = weight.view(out_channels, 2, 2, quarters // 4, height, width)  # O, column, row, C, u, v
    taps = taps.permute(0, 3, 4, 2, 5, 1)  # O, C, u, row, v, column
    return taps.reshape(out_channels, quarters // 4, 2 * height, 2 * width)
