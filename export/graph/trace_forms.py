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


_FORMS: dict[Callable[..., Any], Callable[..., Any]] = {
    **{pool: functools.partial(settled_pool, pool) for pool in POOLS},
    torch.narrow: _slice,
    Tensor.narrow: _slice,
}
