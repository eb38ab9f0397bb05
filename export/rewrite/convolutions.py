"""Rewrites of convolutions, and of what stands in front of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

from ..lint.predicates import expand_to_ntuple
from .rule import constant, reshape, rewrite_rule

_aten = torch.ops.aten


@rewrite_rule(
    "conv2d",
    behind=("pad", "constant_pad_nd"),
    done="one that pads by itself, and another that takes every second pixel",
    serves=("padding-layer", "padding", "odd-map"),
)
def padded_alike(
    padded: list[Any],
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int] | str,
    dilation: list[int],
    groups: int,
) -> Tensor | None:
    """A 3x3 convolution behind padding of one pixel on some sides, as Keras's "same" has it.

    Padded on all sides it is the same but for where a stride of 2 begins, which a second kernel of
    a single one sets right.
    """
    x, pads, *options = padded
    mode, value = options if len(options) == 2 else ("constant", *options)
    fits = x.ndim == 4 and mode == "constant" and not value and len(pads) == 4
    fits = fits and tuple(weight.shape[2:]) == (3, 3) and {*dilation} == {1}
    if not fits or isinstance(padding, str) or {*expand_to_ntuple(padding, 2)} != {0}:
        return None
    left, right, top, bottom = pads
    steps = expand_to_ntuple(stride, 2)
    if (left, right, top, bottom) == (1, 1, 1, 1):
        return f.conv2d(x, weight, bias, steps, 1, 1, groups)
    sides = ((top, bottom), (left, right))
    is_halved = steps == [2, 2] and all(n % 2 == 0 for n in x.shape[2:])
    if not is_halved or any(side not in ((0, 1), (1, 0)) for side in sides):
        return None
    if (top, left) == (1, 1):
        return f.conv2d(x, weight, bias, steps, 1, 1, groups)
    channels = len(weight)

    def taps() -> Tensor:
        kernels = torch.zeros(channels, channels, 3, 3)
        places = torch.arange(channels)
        kernels[places, places, 2 - top, 2 - left] = 1
        return kernels

    return f.conv2d(f.conv2d(x, weight, bias, 1, 1, 1, groups), constant(taps), None, 2, 1)


@rewrite_rule(
    "conv1d",
    "conv2d",
    "conv3d",
    done="padding behind it, and then the bias",
    serves=("padded-1x1", "padding"),
)
def padded_behind(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int] | str,
    dilation: list[int],
    groups: int,
) -> Tensor | None:
    """Of a 1x1 convolution, to which zeros are zeros."""
    dims = x.ndim - 2
    if set(weight.shape[2:]) != {1} or {*stride} != {1} or isinstance(padding, str):
        return None
    margins = [side for one in reversed(expand_to_ntuple(padding, dims)) for side in (one, one)]
    if not any(margins):
        return None
    conv = getattr(_aten, f"conv{dims}d")
    y = f.pad(conv(x, weight, None, groups=groups), margins)
    return y if bias is None else y + bias.reshape(-1, *[1] * dims)


def _reshaped(kind: str) -> None:
    """For what takes the rows of a 1-D convolution for a map."""

    def reshaped(*given: Any) -> Tensor:
        y = getattr(_aten, kind)(*given)
        return reshape(y, y.shape)

    rewrite_rule(kind, done="a reshape behind it", serves=("output-of-conv1d",))(reshaped)


_reshaped("conv1d")
_reshaped("conv_transpose1d")


@rewrite_rule("conv_transpose1d", done="the same in two dimensions", serves=("unknown-operator",))
def transposed_rows(x: Tensor, weight: Tensor, bias: Tensor | None, *given: Any) -> Tensor:
    stride, padding, more, groups, dilation = given
    y = f.conv_transpose2d(
        x.unsqueeze(2),
        weight.unsqueeze(2),
        bias,
        (1, *stride),
        (0, *padding),
        (0, *more),
        groups,
        (1, *dilation),
    )
    return y.squeeze(2)
