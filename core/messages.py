"""How messages and tables say things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def format_shape(size: Sequence[int]) -> str:
    """A size: ``3x224x224``."""
    return "x".join(map(str, size))


def describe_invalid(error: ValidationError) -> str:
    """What a schema says of the first wrong field: ``input.shape.0: Input should be ...``."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
