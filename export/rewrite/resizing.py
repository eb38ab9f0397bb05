"""Rewrites of resizing and of adaptive pools.

What interpolates is a linear function of each row and each column. Its matrix is what PyTorch
makes of the unit vectors, so that the rewritten network has PyTorch's own coefficients, whatever
the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

from .rule import ABSENT, constant, reshape, rewrite_rule

_aten = torch.ops.aten
_INTERPOLATIONS = (
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
)
_NEAREST = (
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
)


Resize = Callable[[Tensor], Tensor]
"""Of one side of a map; the others have two pixels, and keep them.

With one, PyTorch 2.15 computes ``antialias`` wrongly.
"""


def _side_by_side(
    kind: str, along: Callable[[Tensor, int, Resize], Tensor]
) -> Callable[..., Tensor | None]:
    """Resizing one side after another, each by ``along(x, axis, resize)``."""
    overload = getattr(_aten, kind).vec

    def resized(x: Tensor, size: list[int] | None, *options: Any) -> Tensor | None:
        if kind.endswith("_aa") and 1 in (*x.shape[2:], *overload(x, size, *options).shape[2:]):
            return None  # what PyTorch makes of it hangs on the layout in memory
        *flags, factors = options
        for side in range(x.ndim - 2):

            def resize(line: Tensor, side: int = side) -> Tensor:
                return overload(line, _alone(size, side, 2), *flags, _alone(factors, side, 1.0))

            x = along(x, side + 2, resize)
        return x

    return resized


def _alone(values: Sequence[Any] | None, side: int, other: Any) -> list[Any] | None:
    if values is None:
        return None
    return [value if index == side else other for index, value in enumerate(values)]


def _resize_rows(rows: Tensor, dims: int, axis: int, resize: Resize) -> Tensor:
    """Each of ``rows``, as a channel of a map of so many dimensions that varies along ``axis``."""
    count, length = rows.shape
    shape = [1, count, *(length if a == axis else 1 for a in range(2, dims))]
    size = [1, count, *(length if a == axis else 2 for a in range(2, dims))]
    resized = resize(rows.reshape(shape).expand(size).contiguous())
    return resized.movedim(axis, 2).reshape(count, resized.shape[axis], -1)[..., 0]


def _take(x: Tensor, axis: int, resize: Resize) -> Tensor:
    """The pixels that nearest resizing takes."""
    length, dims = x.shape[axis], x.ndim

    def places() -> Tensor:
        return _resize_rows(torch.arange(float(length))[None], dims, axis, resize)[0].long()

    return x.index_select(axis, constant(places))


def _weigh(x: Tensor, axis: int, resize: Resize) -> Tensor:
    """The product with the matrix of what makes weighted sums along ``axis``."""
    length, dims = x.shape[axis], x.ndim
    matrix = constant(lambda: _resize_rows(torch.eye(length), dims, axis, resize))
    if axis == dims - 1:
        return torch.matmul(x, matrix)
    matrix = constant(lambda: matrix.T)
    if axis == dims - 2:
        return torch.matmul(matrix, x)
    after = [*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :]]
    return reshape(torch.matmul(matrix, x.flatten(axis + 1)), after)


_RESIZED = (
    *ABSENT,
    *("unread-operator", "fractional-size", "resize", "antialias"),
)
for _kind in _INTERPOLATIONS:
    rewrite_rule(
        f"{_kind}.vec",
        done="a product with a constant matrix on each side",
        serves=(
            *_RESIZED,
            *("half-pixel-bilinear", "align-corners", "broken-resize", "bicubic"),
            *("bicubic-enlarged", "trilinear"),
        ),
    )(_side_by_side(_kind, _weigh))
for _kind in _NEAREST:
    rewrite_rule(
        f"{_kind}.vec",
        done="an index_select of constant places",
        serves=(*_RESIZED, "nearest-rounding", "upsample-factor"),
    )(_side_by_side(_kind, _take))


@rewrite_rule(
    "adaptive_avg_pool2d",
    done="a pool with a fixed kernel",
    serves=("portable-pool", "mean", "uneven-pool"),
    suits_warnings=True,
)
def even_pool(x: Tensor, size: list[int]) -> Tensor | None:
    kernel = [n // m for n, m in zip(x.shape[2:], size, strict=True)]
    is_even = all(n % m == 0 for n, m in zip(x.shape[2:], size, strict=True))
    return f.avg_pool2d(x, kernel) if is_even else None


@rewrite_rule(
    "adaptive_avg_pool2d",
    done="a product with a constant matrix on each side",
    serves=("mean", "uneven-pool"),
)
def uneven_pool(x: Tensor, size: list[int]) -> Tensor:
    high, wide = size
    x = _weigh(x, 2, lambda line: f.adaptive_avg_pool2d(line, (high, 2)))
    return _weigh(x, 3, lambda line: f.adaptive_avg_pool2d(line, (2, wide)))
