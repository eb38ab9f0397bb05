"""Several exports at a time: each waits for its toolchain's process most of the while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
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
    """``function`` of every item, ``jobs`` of them at a time; the results in the items' order.

    Fewer run at a time where memory is short: each may take :data:`~.memory.JOB_BYTES`.
    At Ctrl-C, or when a call raises, what has not begun is left, toolchains' processes are killed,
    and the calls under way come to their end before the error goes on.

    Raises:
        EdgearkError: ``jobs`` is below 1.
    """
    if jobs < 1:
        raise EdgearkError(f"jobs={jobs}: at least one export runs at a time")
    if jobs == 1 or len(items) < 2:
        return [function(item) for item in items]
    gate = MemoryGate(min(jobs, len(items)))

    def call_inside(item: Item) -> Result:
        with gate.inside():
            return function(item)

    with ThreadPoolExecutor(gate.width, "edgeark-export") as pool:
        calls = [pool.submit(call_inside, item) for item in items]
        try:
            done, _ = wait(calls, return_when=FIRST_EXCEPTION)
            for call in done:
                call.result()  # the first error, before those that stopping the others makes
            return [call.result() for call in calls]
        except BaseException:
            logger.info("stopping what is under way")
            pool.shutdown(wait=False, cancel_futures=True)
            while any(call.running() for call in calls):
                kill_running()
                time.sleep(0.1)
            raise
