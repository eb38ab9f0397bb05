"""Make every channel of a tensor use its bytes: cross-layer equalisation.

A tensor has one scale for all channels, so a channel that never exceeds a tenth of the range has a
tenth of the 256 steps. Behind ReLU a channel may be multiplied by any positive factor if the next
layers divide by it (Nagel et al., "Data-free quantization through weight equalization and bias
correction", 2019). The paper balances weights that share a scale; the KPU has a scale for each
output channel, so the layer in front pays nothing. A depthwise layer behind pays nothing either; in
a dense one small weights get coarser, and a square root is the balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .calibrate import Statistics
from .lower import Conv, Network, Step
from .scalar import is_linear, is_rectifier

_DENSE_SHARE = 0.5  # of the way to equal channels, in logarithms
_MOST = 64.0  # a channel that is almost dead stays small


def equalize(
    network: Network, statistics: Mapping[str, Statistics]
) -> tuple[Network, dict[str, Statistics]]:
    """The same network with other weights, and the statistics of its tensors.

    The ceiling of a ReLU6 stays where calibration reached it; a channel that never did saturates at
    its largest value seen, as it would with a range of its own.
    """
    steps: list[Step] = list(network.steps)
    found = dict(statistics)
    for index, step in enumerate(network.steps):
        readers = [i for i, other in enumerate(steps) if step.output in other.inputs]
        if step.output in network.outputs or not isinstance(steps[index], Conv):
            continue
        conv = steps[index]
        assert isinstance(conv, Conv)
        convolutions = [other for i in readers if isinstance(other := steps[i], Conv)]
        if conv.copies or len(convolutions) != len(readers) or not readers:
            continue
        if any(other.copies for other in convolutions):
            continue
        if not (is_linear(conv.function) or is_rectifier(conv.function)):
            continue
        shared = [s for s in steps if isinstance(s, Conv) and s is not conv]
        if any(conv.stored == s.stored or conv.sums == s.sums for s in shared):
            continue
        factors = _factors(found[conv.stored], all(other.depthwise for other in convolutions))
        steps[index] = replace(
            conv, weights=conv.weights * factors[:, None, None, None], bias=conv.bias * factors
        )
        for i, other in zip(readers, convolutions, strict=True):
            axis = (slice(None), None) if other.depthwise else (None, slice(None))
            steps[i] = replace(other, weights=other.weights / factors[(*axis, None, None)])
        for name in {conv.stored, conv.sums}:
            found[name] = found[name].scaled(factors)
    return replace(network, steps=tuple(steps)), found


def _factors(statistics: Statistics, free: bool) -> np.ndarray:
    """For each channel; 1 for the largest."""
    reach = np.maximum(np.abs(statistics.low), np.abs(statistics.high))
    largest = reach.max()
    if largest <= 0:
        return np.ones_like(reach)
    factors = largest / np.maximum(reach, largest / _MOST)
    return factors if free else factors**_DENSE_SHARE
