"""How messages and tables say things."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_NEAR = 3  # names are suggested
_LEAST = 3  # letters that a name is recognised by
_AS_LIKE = 0.05  # of the likeness, 0..1


def format_shape(size: Sequence[int]) -> str:
    """A size: ``3x224x224``."""
    return "x".join(map(str, size))


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to say of a name that is not known: ``did you mean mnist, mnist_kpu?``

    Near are names with a part of that name (``rk3588`` of ``rknn:rk3588``), those that begin so,
    and those that are spelt nearly so, whole or in a part.

    Args:
        name: as the user wrote it.
        known: the names that there are.
        otherwise: said where none is near: how to list them, or the names where they are few.
    """
    wanted, names = name.strip().lower(), list(dict.fromkeys(known))
    parts = {each: [each.lower(), *re.split(r"[:_./-]", each.lower())] for each in names}
    same = [each for each in names if each.lower() == wanted]
    exact = [each for each in names if wanted in parts[each]]
    begun = [each for each in names if len(wanted) >= _LEAST and each.lower().startswith(wanted)]
    whole = _closest(wanted, {each: [each.lower()] for each in names}, 0.65)
    near = same or [*exact, *begun, *whole] or _closest(wanted, parts, 0.8)
    near = list(dict.fromkeys(near))[:_NEAR]
    return f"did you mean {', '.join(near)}?" if near else otherwise


def _closest(wanted: str, spelt: Mapping[str, Sequence[str]], least: float) -> list[str]:
    """The names that are spelt most like it, and those that are nearly as like."""
    likeness = {
        name: max(difflib.SequenceMatcher(None, wanted, each).ratio() for each in spellings)
        for name, spellings in spelt.items()
    }
    best = max([least, *(like - _AS_LIKE for like in likeness.values())])
    found = [name for name, like in likeness.items() if like >= best]
    return sorted(found, key=lambda name: -likeness[name])


def describe_invalid(error: ValidationError) -> str:
    """What a schema says of the first wrong field: ``input.shape.0: Input should be ...``."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
