"""What a trace calls in another form, as converters of traces do not know it or misread it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .ceil_mode import POOLS, settled_pool

_MOST_POWER = 16  # that is written out


@contextmanager
def plain_forms() -> Iterator[None]:
    """Within it, PyTorch's functions are called in equal forms that more converters read."""
    with _PlainForms():
        yield


class _PlainForms(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _FORMS.get(func, func)(*args, **(kwargs or {}))


def _slice(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``narrow``, which pnnx does not know."""
    first = int(start) % input.shape[dim]
    index = [slice(None)] * (dim % input.ndim)
    return input[(*index, slice(first, first + length))]


def _chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of unlike lengths, whose lengths pnnx takes for alike, as slices."""
    length = -(-int(input.shape[dim]) // chunks)
    starts = range(0, int(input.shape[dim]), length)
    if input.shape[dim] % length == 0:
        return torch.chunk(input, chunks, dim)
    return tuple(_slice(input, dim, start, length) for start in starts)


def _power(input: Any, exponent: Any) -> Any:
    """A whole power as a product: by logarithms, as ncnn has it, negative numbers have none."""
    is_whole = isinstance(exponent, (int, float)) and float(exponent).is_integer()
    if not (isinstance(input, Tensor) and is_whole and 1 <= abs(exponent) <= _MOST_POWER):
        return torch.pow(input, exponent)
    left, product, factor = int(abs(exponent)), None, input
    while left:
        if left % 2:
            product = factor if product is None else product * factor
        left //= 2
        factor = factor * factor if left else factor
    assert product is not None
    return product.reciprocal() if exponent < 0 else product


def _roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Without what turns an axis once around, for which pnnx writes an empty slice."""
    if dims is None:
        return torch.roll(input, shifts)
    pairs = [(shifts, dims)] if isinstance(shifts, int) else list(zip(shifts, dims, strict=True))
    moved = [(int(n) % int(input.shape[d]), int(d)) for n, d in pairs]
    moved = [(n, d) for n, d in moved if n]
    return torch.roll(input, *map(list, zip(*moved, strict=True))) if moved else input


_FORMS: dict[Callable[..., Any], Callable[..., Any]] = {
    **{pool: functools.partial(settled_pool, pool) for pool in POOLS},
    torch.narrow: _slice,
    Tensor.narrow: _slice,
    torch.chunk: _chunk,
    Tensor.chunk: _chunk,
    torch.roll: _roll,
    Tensor.roll: _roll,
    torch.pow: _power,
    Tensor.pow: _power,
    Tensor.__pow__: _power,
}
