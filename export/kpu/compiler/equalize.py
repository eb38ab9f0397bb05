"""Make every channel of a tensor use its bytes: cross-layer equalisation.

A tensor has one scale for all channels, so a channel that never exceeds a tenth of the range has a
tenth of the 256 steps. Behind ReLU a channel may be multiplied by any positive factor if the next
layers divide by it (Nagel et al., "Data-free quantization through weight equalization and bias
correction", 2019). The paper balances weights that share a scale; the KPU has a scale for each
output channel, so the layer in front pays nothing. A depthwise layer behind pays nothing either; in
a dense one small weights get coarser, and a square root is the balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .calibrate import Statistics
from .scalar import is_linear, is_rectifier
from .steps import Conv, Network, Step

_DENSE_SHARE = 0.5  # of the way; measured, 1 costs 5 dB on vgg_kpu and 0 costs 2
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
    for index in range(len(steps)):
        conv = steps[index]
        readers = {i: step for i, step in enumerate(steps) if conv.output in step.inputs}
        if not isinstance(conv, Conv) or not _is_free(conv, [*readers.values()], network):
            continue
        dense = any(isinstance(step, Conv) and not step.depthwise for step in readers.values())
        factors = _factors(found[conv.stored], _DENSE_SHARE if dense else 1.0)
        steps[index] = replace(
            conv, weights=conv.weights * factors[:, None, None, None], bias=conv.bias * factors
        )
        for i, reader in readers.items():
            assert isinstance(reader, Conv)
            divisor = factors[:, None] if reader.depthwise else factors
            steps[i] = replace(reader, weights=reader.weights / divisor[..., None, None])
        for name in {conv.stored, conv.sums, conv.output} & found.keys():
            found[name] = found[name].scaled(factors)
    return replace(network, steps=tuple(steps)), found


def _is_free(conv: Conv, readers: Sequence[Step], network: Network) -> bool:
    """Nobody but convolutions that can be changed would see other numbers."""
    steps = network.steps
    tensors = [(s.sums, s.stored) for s in steps if isinstance(s, Conv)]
    alone = sum(conv.sums in pair or conv.stored in pair for pair in tensors) == 1
    changeable = all(isinstance(step, Conv) and not step.copies for step in readers)
    shape_kept = is_linear(conv.function) or is_rectifier(conv.function)
    seen = conv.output in network.outputs or conv.copies
    return alone and changeable and shape_kept and not seen and len(readers) > 0


def _factors(statistics: Statistics, share: float) -> np.ndarray:
    """For each channel, to bring it so far towards the largest, in logarithms; 1 for that one."""
    reach = np.maximum(np.abs(statistics.low), np.abs(statistics.high))
    largest = reach.max()
    if largest <= 0:
        return np.ones_like(reach)
    return (largest / np.maximum(reach, largest / _MOST)) ** share
