"""Convolutions without padding as padded ones, for accelerators that have no others.

A convolution of the same input with padding has the wanted pixels and others around them. So does
each operator after it that looks at a pixel alone, or at a window that does not straddle the two
parts. The operator that takes the whole map then gets weights that are zero for the others. As in
LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998): two
convolutions without padding, each with a pool, and fully connected layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

from ..lint.predicates import expand_to_ntuple, pool_window
from .kernels import convolve, dense
from .rule import rewrite_rule

_MOST_FEATURES = 1024  # of a fully connected layer on the K210's KPU
_PIXELWISE = (
    *("batch_norm", "dropout", "clone", "contiguous", "alias"),
    *("relu", "relu6", "leaky_relu", "hardtanh", "clamp", "elu", "selu", "celu"),
    *("sigmoid", "tanh", "silu", "gelu", "mish", "softplus", "hardsigmoid", "hardswish"),
)
_FLATTEN = ("flatten", "view", "reshape")
_POOLS = ("max_pool2d", "avg_pool2d")


@dataclass(frozen=True)
class _Map:
    """A map, and where in it the wanted pixels are; both in rows and columns."""

    values: Tensor
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        return self.size == tuple(self.values.shape[2:])

    def spread(self, weight: Tensor) -> Tensor:
        """Weights ``[..., height, width]`` of the wanted pixels, with zeros for the others."""
        sides = zip(self.values.shape[2:], self.offset, self.size, strict=True)
        margins = [(first, side - first - size) for side, first, size in sides]
        spread = f.pad(weight, [one for pair in reversed(margins) for one in pair])
        return spread.reshape(*weight.shape[:-2], *self.values.shape[2:])  # a shape that is known


_Step = Sequence[Any]  # an operator, its first argument or None, and the others


@rewrite_rule(
    "conv2d",
    done="a padded convolution; the layer that takes the whole map leaves out what is too much",
    serves=("kernel", "dilation", "stride", "padding", "groups"),
    with_following=True,
)
def padded(steps: Sequence[_Step]) -> Tensor | None:
    """A convolution without padding and all that follows it, to the network's end.

    Args:
        steps: each an operator and its arguments; the first one of all but the first step is None,
            and stands for the result of the step before.
    """
    image = steps[0][1]
    map_ = _Map(image, (0, 0), tuple(image.shape[2:]))
    for place, step in enumerate(steps):
        if map_.is_whole and place:
            return _finish(map_.values, steps[place:])
        if _kind(step[0]) in _FLATTEN:
            return _fully_connected(map_, steps[place:])
        behind = _next(map_, step, _stride_of_pools(steps[place + 1 :]))
        if behind is None:
            return None
        map_ = behind
    return map_.values if map_.is_whole else _pixel(map_)


def _next(map_: _Map, step: _Step, stride_behind: Sequence[int]) -> _Map | None:
    """What the operator makes of the map; None where it would mix wanted pixels and others."""
    operator, _, *given = step
    kind = _kind(operator)
    if kind == "conv2d":
        return _convolution(map_, given, stride_behind)
    if kind in _POOLS:
        return _pool(map_, operator, given)
    if kind in _PIXELWISE:
        return replace(map_, values=operator(map_.values, *given))
    return None


def _kind(operator: Callable[..., Any]) -> str:
    return operator._schema.name.removeprefix("aten::").removesuffix("_")  # type: ignore[attr-defined]


def _finish(x: Tensor, steps: Sequence[_Step]) -> Tensor:
    for operator, _, *given in steps:
        x = operator(x, *given)
    return x


def _convolution(map_: _Map, given: Sequence[Any], stride_behind: Sequence[int]) -> _Map | None:
    """The wanted pixels are moved to where the pools behind have whole windows of them."""
    weight, bias, strides, padding, dilation, groups = given
    x, (step, *others) = map_.values, set(expand_to_ntuple(strides, 2))
    if others or step & (step - 1) or not _is_unpadded(padding):
        return None
    holes, kernel = expand_to_ntuple(dilation, 2), weight.shape[2:]
    reach = [hole * (side - 1) for hole, side in zip(holes, kernel, strict=True)]
    if reach == [0, 0] and step == 1:
        return replace(map_, values=f.conv2d(x, weight, bias, 1, 0, 1, groups))
    size = tuple((n - far - 1) // step + 1 for n, far in zip(map_.size, reach, strict=True))
    is_last = size == (1, 1) and groups == step == max(holes) == 1
    if is_last and prod(x.shape[1:]) <= _MOST_FEATURES:
        return _Map(f.conv2d(x, map_.spread(weight), bias), (0, 0), size)
    moves: list[int] = []
    for first, far, behind in zip(map_.offset, reach, stride_behind, strict=True):
        fitting = [move for move in range(far + 1) if (first + move) % (step * behind) == 0]
        # A window around the pixel is the cheapest.
        moves += sorted(fitting, key=lambda move, far=far: abs(2 * move - far))[:1]
    if len(moves) < 2 or any(side % step for side in x.shape[2:]):
        return None
    rows, columns = taps = [
        tuple(hole * place - move for place in range(side))
        for hole, side, move in zip(holes, kernel, moves, strict=True)
    ]
    if groups > 1 and taps == [(-1, 0, 1)] * 2 and step <= 2:
        values = f.conv2d(x, weight, bias, step, 1, 1, groups)
    else:
        values = convolve(x, dense(weight, groups), bias, (rows, columns), step)
    offset = tuple((first + n) // step for first, n in zip(map_.offset, moves, strict=True))
    return None if values is None else _Map(values, offset, size)


def _is_unpadded(padding: Any) -> bool:
    return padding == "valid" or (not isinstance(padding, str) and not any(padding))


def _stride_of_pools(steps: Sequence[_Step]) -> list[int]:
    """Of all pools up to the next convolution that can move the pixels."""
    total = [1, 1]
    for operator, _, *given in steps:
        kind = _kind(operator)
        if kind in _POOLS:
            _, strides, _ = pool_window(given, 2)
            total = [n * stride for n, stride in zip(total, strides, strict=True)]
        elif kind not in _PIXELWISE and (kind != "conv2d" or given[0].shape[2:] != (1, 1)):
            break
    return total


def _pool(map_: _Map, operator: Callable[..., Tensor], given: Sequence[Any]) -> _Map | None:
    """None where a window would have both wanted pixels and others."""
    kernel, strides, padding = pool_window(given, 2)
    flags = dict(zip(_names(operator)[3:], given[2:], strict=False))
    if any(padding) or max(flags.get("dilation") or [1]) > 1:
        return None
    offset, size = [], []
    for first, n, side, stride in zip(map_.offset, map_.size, kernel, strides, strict=True):
        if first % stride or (flags["ceil_mode"] and (n - side) % stride):
            return None
        offset.append(first // stride)
        size.append((n - side) // stride + 1)
    return _Map(operator(map_.values, *given), tuple(offset), tuple(size))


def _names(operator: Callable[..., Any]) -> list[str]:
    return [one.name for one in operator._schema.arguments]  # type: ignore[attr-defined]


def _fully_connected(map_: _Map, steps: Sequence[_Step]) -> Tensor | None:
    """A flattened map into ``linear``, and what follows."""
    features = map_.values.shape[1] * prod(map_.size)
    for place, (operator, _, *given) in enumerate(steps):
        kind = _kind(operator)
        if kind == "linear" and given[0].shape[1] == features:
            weight = given[0].reshape(-1, map_.values.shape[1], *map_.size)
            weight = map_.spread(weight).flatten(1)
            x = f.linear(map_.values.flatten(1), weight, given[1])
            return _finish(x, steps[place + 1 :])
        if kind != "dropout" and (place or not _makes_vector(kind, given, features)):
            return None
    return None


def _makes_vector(kind: str, given: Sequence[Any], features: int) -> bool:
    if kind == "flatten":
        return given[0] == 1 and given[1] in (-1, 3)
    shape = list(given[0])
    return len(shape) == 2 and shape[1] in (-1, features)


def _pixel(map_: _Map) -> Tensor | None:
    """The one wanted pixel at the end: a convolution as large as the map that picks it."""
    x = map_.values
    if map_.size != (1, 1) or prod(x.shape[1:]) > _MOST_FEATURES:
        return None
    return f.conv2d(x, map_.spread(torch.eye(x.shape[1])[:, :, None, None]))
