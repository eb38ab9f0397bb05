"""How messages and tables say things."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_NEAR = 3  # names are suggested
_LEAST = 3  # letters that a name is recognised by


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
    exact = [each for each in names if wanted in parts[each]]
    spelt: dict[str, list[str]] = {}
    for each in names:
        for part in parts[each]:
            spelt.setdefault(part, []).append(each)
    whole = {each.lower(): [each] for each in names}
    close = [
        each
        for known_as, cutoff in ((whole, 0.65), (spelt, 0.8))
        for like in difflib.get_close_matches(wanted, known_as, n=_NEAR, cutoff=cutoff)
        for each in known_as[like]
    ]
    begun = [each for each in names if len(wanted) >= _LEAST and each.lower().startswith(wanted)]
    near = list(dict.fromkeys([*exact, *begun, *close]))[:_NEAR]
    return f"did you mean {', '.join(near)}?" if near else otherwise


def describe_invalid(error: ValidationError) -> str:
    """What a schema says of the first wrong field: ``input.shape.0: Input should be ...``."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
