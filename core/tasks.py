"""Work that comes in pieces: what runs them, here or on a cluster, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Lost:
    """In place of a result: what ran the piece has died, and ``reason`` says how."""

    reason: str


class Runner(Protocol):
    """Calls a function on every item, in any order, and yields each result when it is there.

    Where the pieces leave this process, function, items and results must be picklable. An error
    that a call raises goes on. Closing the iterator ends what is under way.
    """

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Generator[tuple[int, Any | Lost], None, None]:
        """The index of each item, with its result."""
        ...


def one_by_one(
    function: Callable[[Any], Any], items: Sequence[Any]
) -> Generator[tuple[int, Any | Lost], None, None]:
    """The :class:`Runner` of this process: one after another."""
    for index, item in enumerate(items):
        yield index, function(item)
