"""Several exports at a time: each waits for its toolchain's process most of the while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from ...errors import EdgearkError
from .memory import MemoryGate
from .process import kill_running

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> list[Result]:
    """``function`` of every item; as :func:`as_they_end`, with the results in the items' order."""
    results = dict(as_they_end(function, items, jobs))
    return [results[index] for index in range(len(items))]


def as_they_end(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Generator[tuple[int, Result], None, None]:
    """``function`` of every item, ``jobs`` at a time: each index and result when it is there.

    Fewer run at a time where memory is short: each may take :data:`~.memory.JOB_BYTES`.
    At Ctrl-C, when a call raises, or when the iterator is closed, what has not begun is left,
    toolchains' processes are killed, and the calls under way come to their end before the error
    goes on.

    Raises:
        EdgearkError: ``jobs`` is below 1.
    """
    if jobs < 1:
        raise EdgearkError(f"jobs={jobs}: at least one export runs at a time")
    if jobs == 1 or len(items) < 2:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    gate = MemoryGate(min(jobs, len(items)))

    def call_inside(item: Item) -> Result:
        with gate.inside():
            return function(item)

    with ThreadPoolExecutor(gate.width, "edgeark-export") as pool:
        calls = {pool.submit(call_inside, item): index for index, item in enumerate(items)}
        try:
            for call in as_completed(calls):
                yield calls[call], call.result()
        except BaseException:
            logger.info("stopping what is under way")
            pool.shutdown(wait=False, cancel_futures=True)
            while any(call.running() for call in calls):
                kill_running()
                time.sleep(0.1)
            raise
