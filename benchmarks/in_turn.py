"""Two programs timed in turn: what slows the machine for a while slows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LEAST_ROUNDS = 10


def time_in_turn(runs: Sequence[Callable[[], Any]], seconds: float) -> np.ndarray:
    """Run both once a round, each first in every other one, for so long.

    Returns:
        ``[rounds, 2, 2]``: of each round and program the wall and the CPU seconds.
    """
    times = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_ROUNDS or time.perf_counter() < end:
        row = np.zeros((2, 2))
        for i in (0, 1) if len(times) % 2 else (1, 0):
            before = time.perf_counter(), time.process_time()
            runs[i]()
            row[i] = time.perf_counter() - before[0], time.process_time() - before[1]
        times.append(row)
    return np.stack(times)


def ratio_quartiles(rounds: np.ndarray) -> np.ndarray:
    """``[3, 2]``: quartiles of first / second, by the wall and by the CPU."""
    return np.quantile(rounds[:, 0] / rounds[:, 1], (0.25, 0.5, 0.75), axis=0)
