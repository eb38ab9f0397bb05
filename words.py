"""How messages and tables say things."""

from __future__ import annotations

from collections.abc import Sequence


def format_shape(size: Sequence[int]) -> str:
    """A size: ``3x224x224``."""
    return "x".join(map(str, size))
