"""Rewrites of what moves or joins pixels: padding, pools, slices and index lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as f

from ..lint.predicates import expand_to_ntuple, pool_window
from .rule import ABSENT, constant, rewrite_rule

_aten = torch.ops.aten
_LEAST = torch.finfo(torch.float32).min
_POOLS = {1: _aten.avg_pool1d, 2: _aten.avg_pool2d, 3: _aten.avg_pool3d}
_AVERAGES = (
    *("divisor-override", "average-ceil-mode", "uncounted-padding"),
    *("pool", "pool-without-stride", "pool-ceil-mode"),
)


@rewrite_rule(
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    done="a plain pool, times what the divisors differ",
    serves=(
        "divisor-override",
        "average-ceil-mode",
        "uncounted-padding",
        "pool",
        "pool-without-stride",
        "pool-ceil-mode",
    ),
)
def plain_average(x: Tensor, *given: Any) -> Tensor | None:
    """Without ``ceil_mode``, another divisor or uncounted padding, where the size stays."""
    dims = x.ndim - 2
    kernel, stride, padding = pool_window(given, dims)
    if (given[3:] or [False])[0] is False and given[4:] in ([], (), (True,), (True, None)):
        return None
    return _scaled(x, given, lambda map_: _POOLS[dims](map_, kernel, stride, padding))


@rewrite_rule(
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    done="zeros around it, and a pool without padding",
    serves=(
        "divisor-override",
        "average-ceil-mode",
        "uncounted-padding",
        "padded-average",
        "padded-average-3d",
        "pool",
        "pool-without-stride",
        "pool-ceil-mode",
    ),
)
def padded_average(x: Tensor, *given: Any) -> Tensor | None:
    """With ``ceil_mode`` by a row or a column more."""
    dims = x.ndim - 2
    kernel, stride, padding = pool_window(given, dims)
    size = _size_of(_POOLS[dims], x, given)
    margins = _margins(x.shape[2:], size, kernel, stride, padding)
    if not any(margins):
        return None
    return _scaled(x, given, lambda map_: _POOLS[dims](f.pad(map_, margins), kernel, stride))


def _scaled(x: Tensor, given: Sequence[Any], pool: Callable[[Tensor], Tensor]) -> Tensor | None:
    """``pool``, times what makes of a map of ones the same as the average that was asked for."""
    ones = constant(lambda: torch.ones(1, 1, *x.shape[2:]))
    wanted = constant(lambda: _POOLS[x.ndim - 2](ones, *given))
    plain = constant(lambda: pool(ones))
    if wanted.shape != plain.shape:
        return None
    factors = constant(lambda: wanted / plain)
    first, *others = set(constant(factors.flatten).tolist())
    pooled = pool(x)
    if others:
        return pooled * factors
    return pooled if first == 1 else pooled * first


def _size_of(pool: Callable[..., Tensor], x: Tensor, given: Sequence[Any]) -> list[int]:
    shape = [1, 1, *x.shape[2:]]
    return [*constant(lambda: pool(torch.zeros(shape), *given)).shape[2:]]


def _margins(
    before: Sequence[int],
    after: Sequence[int],
    spans: Sequence[int],
    strides: Sequence[int],
    paddings: Sequence[int],
) -> list[int]:
    """For ``pad``, last side first: the padding, and at the end what the last window wants."""
    margins = []
    for n, m, span, stride, padding in zip(before, after, spans, strides, paddings, strict=True):
        wanted = (m - 1) * stride + span - n - padding
        margins.append([padding, max(wanted, 0)])
    return [one for pair in reversed(margins) for one in pair]


@rewrite_rule(
    "max_pool2d",
    done="the same pool, without ceil_mode and with its stride written out",
    serves=(
        "pool-without-stride",
        "pool",
        "pool-ceil-mode",
        "padded-max-pool",
        "pytorch-route-alone",
    ),
)
def plain_maximum(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> Tensor | None:
    given = (kernel, stride or kernel, padding, dilation)
    is_cut = _size_of(_aten.max_pool2d, x, (*given, ceil_mode)) != _size_of(
        _aten.max_pool2d, x, given
    )
    return None if is_cut else _aten.max_pool2d(x, *given)


@rewrite_rule(
    "pad",
    "constant_pad_nd",
    done="a slice",
    serves=("negative-padding", "padding-layer", "padding-of-rows"),
)
def crop(x: Tensor, pads: list[int], *options: Any) -> Tensor | None:
    """Negative padding; what of it is positive stays."""
    mode, value = options if len(options) == 2 else ("constant", *options)
    if mode != "constant" or min(pads) >= 0:
        return None
    for index, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        axis = x.ndim - 1 - index
        start, end = max(-before, 0), x.shape[axis] - max(-after, 0)
        if (start, end) != (0, x.shape[axis]):
            x = _aten.slice(x, axis, start, end)
    rest = [max(side, 0) for side in pads]
    return f.pad(x, rest, value=value) if any(rest) else x


@rewrite_rule(
    "pad",
    done="an index_select of constant places",
    serves=(
        "circular-padding",
        "padding-of-rows",
        "padding-mode",
        "padding-layer",
        "portable-padding",
        "pytorch-route-alone",
    ),
)
def mirrored(x: Tensor, pads: list[int], mode: str, _: float | None) -> Tensor | None:
    """Circular, reflecting and replicating padding."""
    if mode == "constant" or min(pads) < 0:
        return None
    for index, pair in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        axis = x.ndim - 1 - index
        if any(pair):
            x = x.index_select(axis, _padded_places(x.shape[axis], pair, mode))
    return x


def _padded_places(length: int, pair: Sequence[int], mode: str) -> Tensor:
    return constant(
        lambda: f.pad(torch.arange(float(length)).view(1, 1, -1), pair, mode).flatten().long()
    )


@rewrite_rule(
    "pad",
    "constant_pad_nd",
    done="a cat with what was padded",
    serves=(
        "padding-layer",
        "padding-before-1x1",
        "padded-1x1",
        "padded-max-pool",
    ),
    suits_readers=True,
)
def joined(x: Tensor, pads: list[int], *options: Any) -> Tensor | None:
    """For what a runtime makes of padding in front of a convolution or a pool."""
    mode, value = options if len(options) == 2 else ("constant", *options)
    if mode != "constant" or min(pads) < 0:
        return None
    for index, pair in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        axis = x.ndim - 1 - index
        if any(pair):
            line = torch.full_like(_aten.slice(x, axis, 0, 1), value or 0.0)
            before, after = pair
            x = torch.cat([line] * before + [x] + [line] * after, axis)
    return x


@rewrite_rule(
    "slice.Tensor",
    done="a 1x1 depthwise convolution of ones with a stride",
    serves=("portable-slice", "slice", "strided-slice"),
    suits_warnings=True,
)
def strided_slice(
    x: Tensor, axis: int, start: int | None, end: int | None, step: int
) -> Tensor | None:
    axis %= x.ndim
    if step == 1 or x.ndim != 4 or axis < 2 or not x.is_floating_point():
        return None
    length = x.shape[axis]
    first, last, _ = slice(start, end).indices(length)
    if (first, last) != (0, length):
        x = _aten.slice(x, axis, first, last)
    channels = x.shape[1]
    ones = constant(lambda: torch.ones(channels, 1, 1, 1))
    stride = (step, 1) if axis == 2 else (1, step)
    return f.conv2d(x, ones, stride=stride, groups=channels)


@rewrite_rule(
    "index.Tensor",
    done="an index_select of constant places, counted from the front",
    serves=("unknown-operator", "negative-index"),
)
def counted(x: Tensor, lists: list[Tensor | None]) -> Tensor | None:
    """One list of constant places along one axis."""
    given = [(axis, one) for axis, one in enumerate(lists) if one is not None]
    if len(given) != 1 or given[0][1].ndim != 1:
        return None
    ((axis, places),) = given
    if isinstance(places, FakeTensor) or places.dtype not in (torch.int32, torch.int64):
        return None  # computed from the image, or a mask
    length = x.shape[axis]
    return x.index_select(axis, constant(lambda: places.long() % length))


def _picking(operator: str, find: Callable[..., Tensor | None]) -> None:
    """A 1x1 convolution, where ``find`` gives the places of channels."""

    def picked(x: Tensor, *given: Any) -> Tensor | None:
        places = find(x, *given) if x.ndim == 4 and x.is_floating_point() else None
        if places is None:
            return None
        channels = x.shape[1]
        kernel = constant(lambda: torch.eye(channels)[places.long() % channels][..., None, None])
        return f.conv2d(x, kernel)

    done = "a 1x1 convolution that picks channels"
    serves = ("host-operator", "unknown-operator")
    rewrite_rule(operator, done=done, serves=serves, suits_warnings=True)(picked)


def _flipped_channels(x: Tensor, axes: list[int]) -> Tensor | None:
    return _backwards(x.shape[1]) if [axis % 4 for axis in axes] == [1] else None


def _listed_channels(x: Tensor, lists: list[Tensor | None]) -> Tensor | None:
    first, places, *others = [*lists, None, None][: max(len(lists), 2)]
    is_list = places is not None and places.ndim == 1 and not isinstance(places, FakeTensor)
    is_alone = first is None and not any(one is not None for one in others)
    is_plain = is_list and places is not None and places.dtype in (torch.int32, torch.int64)
    return places if is_alone and is_plain else None


def _selected_channels(x: Tensor, axis: int, places: Tensor) -> Tensor | None:
    is_known = axis % 4 == 1 and not isinstance(places, FakeTensor)
    return places if is_known else None


_picking("flip", _flipped_channels)
_picking("index_select", _selected_channels)
_picking("index.Tensor", _listed_channels)


@rewrite_rule(
    "amax",
    done="a max pool over the whole map",
    serves=("host-operator",),
    suits_warnings=True,
)
def whole_maximum(x: Tensor, dims: list[int], keepdim: bool) -> Tensor | None:
    if x.ndim != 4 or sorted(dim % 4 for dim in dims) != [2, 3]:
        return None
    pooled = _aten.max_pool2d(x, x.shape[2:], x.shape[2:])
    return pooled if keepdim else pooled.flatten(1)


@rewrite_rule("flip", done="an index_select of constant places", serves=ABSENT)
def flipped(x: Tensor, axes: list[int]) -> Tensor:
    return _flip(x, axes)


@rewrite_rule("rot90", done="an index_select of constant places, and a transpose", serves=ABSENT)
def rotated(x: Tensor, times: int, axes: list[int]) -> Tensor:
    first, second = axes
    turned = _flip(x, {0: [], 1: [second], 2: axes, 3: [first]}[times % 4])
    return turned.transpose(first, second) if times % 2 else turned


def _flip(x: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        x = x.index_select(axis, _backwards(x.shape[axis]))
    return x


def _backwards(length: int) -> Tensor:
    return constant(lambda: torch.arange(length).flip(0))


@rewrite_rule(
    "max_pool2d",
    done="the maximum of shifted slices",
    serves=("dilated-pool", "pool", "global-max-pool", "pytorch-route-alone"),
)
def dilated_maximum(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
) -> Tensor | None:
    """Down each column first, then along each row."""
    kernels, steps, paddings = pool_window((kernel, stride, padding), 2)
    holes = expand_to_ntuple(dilation, 2)
    if holes == [1, 1]:
        return None
    shape = x.shape[2:]
    zeros = constant(
        lambda: _aten.max_pool2d(
            torch.zeros(1, 1, *shape), kernel, stride, padding, dilation, ceil_mode
        )
    )
    is_lost = min(constant(zeros.flatten).tolist()) < 0
    if is_lost:  # a window of padding alone, of which PyTorch makes -inf
        return None
    size = [*zeros.shape[2:]]
    spans = [hole * (count - 1) + 1 for count, hole in zip(kernels, holes, strict=True)]
    margins = _margins(x.shape[2:], size, spans, steps, paddings)
    if any(margins):
        x = f.pad(x, margins, value=_LEAST)
    for axis, count, step, hole, length in zip((2, 3), kernels, steps, holes, size, strict=True):
        first, *others = (
            _aten.slice(x, axis, i * hole, i * hole + (length - 1) * step + 1, step)
            for i in range(count)
        )
        for other in others:
            first = torch.maximum(first, other)
        x = first
    return x


@rewrite_rule("expand", "expand_as", done="a repeat", serves=("expanded-columns",))
def repeated(x: Tensor, size: Sequence[int] | Tensor, *_: Any) -> Tensor | None:
    sides = size.shape if isinstance(size, Tensor) else size
    if len(sides) != x.ndim:
        return None
    pairs = zip(sides, x.shape, strict=True)
    return x.repeat([1 if side == -1 else side // own for side, own in pairs])


@rewrite_rule(
    "repeat_interleave.self_int",
    done="a repeat beside each value",
    serves=("expanded-columns",),
)
def repeated_beside(x: Tensor, repeats: int, dim: int | None, *_: Any) -> Tensor | None:
    if dim is None:
        return None
    axis = dim % x.ndim
    counts = [repeats if index == axis + 1 else 1 for index in range(x.ndim + 1)]
    return x.unsqueeze(axis + 1).repeat(counts).flatten(axis, axis + 1)
