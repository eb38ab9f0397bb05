"""A metric of the user's own: a function of raw outputs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ...errors import SourceError
from ...training.data import ImageSet
from .factory import load_attribute


def load_metric(name: str) -> Callable[[Sequence[np.ndarray], ImageSet], dict[str, float]]:
    """The metric of ``FILE.py:FUNCTION``.

    The function gets the raw outputs, a list of arrays ``[N, ...]``, and, where it takes a second
    argument, the samples ``[N, ...]``. It returns a number in 0..1, more is better.

    Raises:
        SourceError: there is no such function; when it is called: it fails, or returns no number.
    """
    function = load_attribute(name)
    if not callable(function):
        raise SourceError(f"--metric {name} is no function")
    takes_samples = len(inspect.signature(function).parameters) > 1
    title = name.rpartition(":")[2]

    def measure(outputs: Sequence[np.ndarray], test: ImageSet) -> dict[str, float]:
        arguments = (list(outputs), test.images) if takes_samples else (list(outputs),)
        try:
            value = float(cast(Any, function)(*arguments))
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise SourceError(f"--metric {name} fails: {type(error).__name__}: {said}") from error
        if not math.isfinite(value):
            raise SourceError(f"--metric {name} returned {value}, no finite number")
        return {title: value}

    return measure
