"""Mends of arithmetic: activations, reductions, norms, products and conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.nn import functional as f

from .rule import ABSENT, constant, reshape, rewrite_rule

_aten = torch.ops.aten

# What PyTorch itself writes in operators that every runtime has.
_DECOMPOSED = {
    "mish": "x times the tanh of its softplus",
    "celu": "an exponential where it is negative",
    "hardshrink": "a where of a comparison",
    "softshrink": "a where of a comparison",
}
for _name, _done in _DECOMPOSED.items():
    rewrite_rule(
        _name,
        done=_done,
        serves=(*ABSENT, "unread-operator", "pool-across-activation"),
        suits_readers=True,
    )(decomposition_table[getattr(_aten, _name).default])


@rewrite_rule("addcmul", done="a product and a sum", serves=ABSENT)
def addcmul(x: Tensor, y: Tensor, z: Tensor, value: float) -> Tensor:
    return x + y * z * value


@rewrite_rule("channel_shuffle", done="reshape and transpose", serves=(*ABSENT, "transpose"))
def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    _, channels, *size = x.shape
    grouped = reshape(x, [1, groups, channels // groups, *size])
    return reshape(grouped.transpose(1, 2), x.shape)


@rewrite_rule(
    "pixel_unshuffle", done="a convolution that takes a pixel each", serves=(*ABSENT, "transpose")
)
def pixel_unshuffle(x: Tensor, factor: int) -> Tensor | None:
    if x.ndim != 4:
        return None
    channels, pixels = x.shape[1], factor * factor
    kernel = constant(lambda: torch.eye(pixels).view(pixels, 1, factor, factor))
    kernels = constant(lambda: kernel.repeat(channels, 1, 1, 1))
    return f.conv2d(x, kernels, stride=factor, groups=channels)


@rewrite_rule(
    "minimum",
    done="-max(-x, -y), of a constant x - relu(x - y)",
    serves=(*ABSENT, "host-operator"),
    suits_warnings=True,
)
def minimum(x: Tensor, y: Tensor) -> Tensor:
    return -torch.maximum(-x, -y) if x.shape == y.shape else x - (x - y).relu()


@rewrite_rule("maximum", done="relu(x - y) + y", serves=("host-operator",), suits_warnings=True)
def maximum(x: Tensor, y: Tensor) -> Tensor | None:
    return None if x.shape == y.shape else (x - y).relu() + y


@rewrite_rule("lerp.Scalar", "lerp.Tensor", done="a difference, a product and a sum", serves=ABSENT)
def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    return start + (end - start) * weight


@rewrite_rule(
    "log_sigmoid",
    done="the smaller of x and 0, less a logarithm of 1 and more",
    serves=ABSENT,
)
def log_sigmoid(x: Tensor) -> Tensor:
    return x.clamp(max=0) - (-x.abs()).exp().log1p()


@rewrite_rule(
    "logaddexp",
    done="the larger one, and a logarithm of 1 and more",
    serves=(*ABSENT, "log-of-exponentials"),
)
def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y) + (-(x - y).abs()).exp().log1p()


@rewrite_rule(
    "hardsigmoid", done="relu6(x + 3) / 6", serves=("hardsigmoid-gate",), suits_readers=True
)
def hardsigmoid(x: Tensor) -> Tensor:
    return f.relu6(x + 3) / 6


@rewrite_rule(
    "gelu",
    done="its formula, with erf or a sigmoid",
    serves=("gelu", "unread-operator", "pool-across-activation"),
    suits_warnings=True,
)
def gelu(x: Tensor, approximate: str) -> Tensor:
    """Hendrycks and Gimpel, 2016; tanh(u) is 2 * sigmoid(2 * u) - 1."""
    if approximate == "none":
        return x * ((x * math.sqrt(0.5)).erf() * 0.5 + 0.5)
    return x * ((x * x * x * 0.044715 + x) * math.sqrt(8 / math.pi)).sigmoid()


@rewrite_rule(
    "linalg_vector_norm",
    done="written out: squares, their sum, its root",
    serves=(*ABSENT, "norm-over-all", "normalize-axis"),
)
def vector_norm(
    x: Tensor, order: float, dims: list[int] | None, keepdim: bool, dtype: Any
) -> Tensor | None:
    if dims is None or dtype is not None or order not in (1, 2):
        return None
    if order == 1:
        return _reduced(x.abs(), dims, keepdim, torch.sum)
    return _reduced(x * x, dims, keepdim, torch.sum).sqrt()


@rewrite_rule(
    "cosine_similarity",
    done="written out: a sum of products of x / max(norm, eps)",
    serves=(*ABSENT, "norm-over-all"),
)
def cosine_similarity(x: Tensor, y: Tensor, dim: int, eps: float) -> Tensor:
    x, y = (one / (one * one).sum(dim, True).sqrt().clamp(min=eps) for one in (x, y))
    return (x * y).sum(dim)


@rewrite_rule(
    "logsumexp",
    done="written out: exponentials of what is below the maximum",
    serves=(*ABSENT, "norm-over-all"),
)
def logsumexp(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    peak = x.amax(dims, True)
    total = (x - peak).exp().sum(dims, True).log() + peak
    return total if keepdim else _without(total, dims)


@rewrite_rule(
    "mean.dim",
    done="a mean that keeps its dimensions, and a reshape",
    serves=("cpu-mean", "portable-reduction", "mean"),
    suits_warnings=True,
)
def keeping_mean(x: Tensor, dims: list[int] | None, keepdim: bool, dtype: Any) -> Tensor | None:
    if keepdim or not dims or dtype is not None:
        return None
    return _without(x.mean(dims, True), dims)


def _reduced(
    x: Tensor, dims: Sequence[int], keepdim: bool, reduce: Callable[..., Tensor]
) -> Tensor:
    """Over height and width first, then over the others: OpenCV takes no three at a time."""
    axes = sorted(dim % x.ndim for dim in dims)
    steps = [axes[-2:], axes[:-2]] if len(axes) > 2 else [axes]
    for step in steps:
        x = reduce(x, step, True)
    return x if keepdim else _without(x, axes)


def _without(x: Tensor, dims: Sequence[int]) -> Tensor:
    """A reduced tensor without its dimensions of one."""
    gone = {dim % x.ndim for dim in dims}
    return reshape(x, [n for axis, n in enumerate(x.shape) if axis not in gone])


def _spread(kind: str, is_root: bool) -> None:
    """Variance and standard deviation: written out, as means of squares."""

    def spread(x: Tensor, dims: list[int] | None, keepdim: bool, less: float) -> Tensor | None:
        if not dims:
            return None
        apart = x - _reduced(x, dims, True, torch.mean)
        count = math.prod(x.shape[dim] for dim in dims)
        squares = _reduced(apart * apart, dims, keepdim, torch.mean) * (count / (count - less))
        return squares.sqrt() if is_root else squares

    def of_flag(x: Tensor, dims: list[int] | None, unbiased: bool, keepdim: bool) -> Tensor | None:
        return spread(x, dims, keepdim, int(unbiased))

    def of_number(
        x: Tensor, dims: list[int] | None, correction: float | None, keepdim: bool
    ) -> Tensor | None:
        return spread(x, dims, keepdim, 1 if correction is None else correction)

    done = f"written out: {'the root of ' * is_root}a mean of squares"
    serves = ABSENT
    rewrite_rule(f"{kind}.dim", done=done, serves=serves)(of_flag)
    rewrite_rule(f"{kind}.correction", done=done, serves=serves)(of_number)


_spread("var", False)
_spread("std", True)


@rewrite_rule(
    "group_norm",
    done="a layer norm of each group, times weight, plus bias",
    serves=("unknown-operator", "normalization", "norm", "norm-behind-reshape", "norm-of-vector"),
)
def group_norm(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, _: bool
) -> Tensor:
    flat = reshape(x, [1, groups, math.prod(x.shape[1:]) // groups])
    y = reshape(f.layer_norm(flat, flat.shape[2:], eps=eps), x.shape)
    by_channel = [-1, *[1] * (x.ndim - 2)]
    return _affine(y, weight, bias, by_channel)


@rewrite_rule(
    "layer_norm",
    done="a layer norm of one dimension, times weight, plus bias",
    serves=("normalization", "norm", "layer-norm-of-maps"),
)
def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float, _: bool
) -> Tensor | None:
    if len(shape) == 1:
        return None
    flat = x.flatten(x.ndim - len(shape))
    y = reshape(f.layer_norm(flat, flat.shape[-1:], eps=eps), x.shape)
    return _affine(y, weight, bias)


def _affine(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: list[int] | None = None
) -> Tensor:
    for value, join in ((weight, torch.mul), (bias, torch.add)):
        if value is not None:
            x = join(x, value if shape is None else value.reshape(shape))
    return x


@rewrite_rule(
    "softmax.int",
    done="over the last of three dimensions",
    serves=("softmax-over-width", "softmax", "softmax-1d"),
)
def softmax(x: Tensor, dim: int, dtype: Any) -> Tensor | None:
    if x.ndim != 4 or dim % 4 != 3 or dtype is not None:
        return None
    return reshape(x.flatten(1, 2).softmax(2), x.shape)


@rewrite_rule("unsqueeze", done="a reshape", serves=("two-new-axes",))
def unsqueeze(x: Tensor, dim: int) -> Tensor | None:
    return None if dim == 0 else reshape(x, _aten.unsqueeze(x, dim).shape)


@rewrite_rule("squeeze", done="a reshape", serves=("squeeze-of-all", "output-without-batch"))
def squeeze(x: Tensor) -> Tensor:
    return x.reshape([n for n in x.shape if n != 1])


@rewrite_rule("add.Tensor", done="both made as large first", serves=("two-tensors",))
def expanded_sum(x: Tensor, y: Tensor | float, alpha: float) -> Tensor | None:
    if not isinstance(y, Tensor) or x.shape == y.shape or alpha != 1:
        return None
    size = torch.broadcast_shapes(x.shape, y.shape)
    return torch.add(_expanded(x, size), _expanded(y, size))


def _expanded(x: Tensor, size: Sequence[int]) -> Tensor:
    """The sides that stay are left open: the batch, for one."""
    if x.shape == size:
        return x
    kept = [1] * (len(size) - x.ndim) + [*x.shape]
    return x.expand([-1 if own == n else n for own, n in zip(kept, size, strict=True)])


@rewrite_rule(
    "matmul",
    "mv",
    done="a product with a matrix of one column or row",
    serves=("matrix-by-vector", "product"),
)
def matrix_product(x: Tensor, y: Tensor) -> Tensor | None:
    if min(x.ndim, y.ndim) > 1 or max(x.ndim, y.ndim) == 1:
        return None
    if y.ndim == 1:
        return reshape(torch.matmul(x, y.reshape(-1, 1)), x.shape[:-1])
    return reshape(torch.matmul(x.reshape(1, -1), y), [*y.shape[:-2], y.shape[-1]])


def _of_numbers(*operators: str, done: str, join: Callable[[Tensor, Tensor], Tensor]) -> None:
    """A condition of two conditions, by arithmetic with 0 and 1."""

    def joined(x: Tensor, y: Tensor | bool) -> Tensor | None:
        if not isinstance(y, Tensor) or {x.dtype, y.dtype} != {torch.bool}:
            return None
        return join(x.float(), y.float()) > 0.5

    rewrite_rule(*operators, done=done, serves=ABSENT)(joined)


_of_numbers(
    *("__or__.Tensor", "logical_or", "bitwise_or.Tensor"),
    done="a sum of 0 and 1, compared",
    join=torch.add,
)
_of_numbers(
    *("__and__.Tensor", "logical_and", "bitwise_and.Tensor"),
    done="a product of 0 and 1, compared",
    join=torch.mul,
)
_of_numbers(
    *("__xor__.Tensor", "logical_xor", "bitwise_xor.Tensor"),
    done="a difference of 0 and 1, compared",
    join=lambda x, y: (x - y).abs(),
)


@rewrite_rule(
    "lt.Tensor", "lt.Scalar", done="a greater of the other way round", serves=(*ABSENT, "less-than")
)
def turned_round(x: Tensor, y: Tensor | float) -> Tensor:
    return y > x if isinstance(y, Tensor) else -x > -y
