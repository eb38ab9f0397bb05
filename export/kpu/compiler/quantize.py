"""From real numbers to the KPU's integers: bytes for values and weights, words for the rest.

A value is ``scale * (byte - zero)``, with 0 exactly a byte, since padding is 0. Weights have a
scale for each output channel and the zero point 128. Between the two, the KPU has one unit of
fixed-point numbers for a whole layer, ``v``; it is chosen as fine as 36 bits allow, so that all
error comes from the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arithmetic import Pool
from ..tables import BatchNorm
from .calibrate import Method, Statistics
from .fit import fit_activation
from .steps import Conv, Network, Operator

WEIGHT_ZERO = 128
_V_BITS = 30  # of the greatest sum that a layer can reach
_MUL_BITS = 22
_MAX_SHIFT = 15
# A mean of bytes is rounded down: by 3/8 on the average of four, by 15/32 of sixteen.
_LOST = {Pool.MEAN_2: 3 / 8, Pool.MEAN_4: 15 / 32}
_SAME = ("max_pool", "resize", "reshape")


@dataclass(frozen=True)
class Quantization:
    """A byte q stands for ``scale * (q - zero)``."""

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Quantization:
        """The finest one that covers ``low`` to ``high`` and has 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, 1e-9)
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, 255)))

    @property
    def bias(self) -> float:
        """``scale * q + bias`` is the number, as the firmware's layers have it."""
        return -self.scale * self.zero


def choose(
    network: Network, statistics: Mapping[str, Statistics], method: Method
) -> dict[str, Quantization]:
    """The quantisation of every value that may be stored as bytes.

    What only moves bytes keeps its input's; a value that is only ever concatenated has the result's
    from the start.
    """
    found = {network.input: Quantization(1.0, network.input_zero)}
    for step in network.steps:
        stored = step.stored if isinstance(step, Conv) else step.output
        if _keeps(step):
            found[step.output] = found[step.inputs[0]]
        elif stored in statistics:
            found[step.output] = Quantization.of(*statistics[stored].range(method))
    readers = network.readers()
    for step in reversed(network.steps):
        if _keeps(step) or (isinstance(step, Operator) and step.kind == "concat"):
            for name in step.inputs:
                if readers[name] == 1 and name != network.input:
                    found[name] = found[step.output]
    for step in network.steps:
        if _keeps(step):
            found[step.output] = found[step.inputs[0]]
    return found


def _keeps(step: Conv | Operator) -> bool:
    return step.copies if isinstance(step, Conv) else step.kind in _SAME


def quantize_convolution(
    conv: Conv,
    source: Quantization,
    target: Quantization,
    sums: tuple[float, float],
    input_mean: np.ndarray,
) -> dict[str, Any]:
    """What a :class:`KpuConv` needs to know besides places and sizes.

    Args:
        conv: real weights.
        source, target: quantisation of input and output.
        sums: least and greatest sum seen.
        input_mean: of each input channel; rounding weights shifts an output by its share of that,
            which the bias takes back (Nagel et al., "Data-free quantization through weight
            equalization and bias correction", 2019).
    """
    weights, scales = quantize_weights(conv.weights)
    rounding = (weights.astype(np.float64) - WEIGHT_ZERO) * scales[:, None, None, None]
    rounding = (rounding - conv.weights).sum((2, 3))
    shift = rounding[:, 0] * input_mean if conv.depthwise else rounding @ input_mean
    taps = conv.weights.shape[2] * conv.weights.shape[3]
    bn, unit = quantize_scales(weights, scales * source.scale, conv.bias - shift, target.scale)
    lost = _LOST.get(conv.pool, 0.0)
    return {
        "weights": weights,
        "depthwise": conv.depthwise,
        "pool": conv.pool,
        "pad_value": source.zero,
        "arg_x": -WEIGHT_ZERO,
        "arg_w": -source.zero,
        "arg_add": taps * WEIGHT_ZERO * source.zero,
        "bn": bn,
        "activation": fit_activation(conv.function, sums, target.scale, target.zero + lost, unit),
    }


def quantize_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 of the same shape ``[out, in, k, k]``, and the scale of each output channel."""
    flat = weights.reshape(len(weights), -1)
    scales = np.maximum(flat.max(1) / (255 - WEIGHT_ZERO), -flat.min(1) / WEIGHT_ZERO)
    scales = np.maximum(scales, max(scales.max() * 1e-6, 1e-12))  # a channel without weights
    rounded = np.rint(weights / scales[:, None, None, None]) + WEIGHT_ZERO
    return np.clip(rounded, 0, 255).astype(np.uint8), scales


def quantize_scales(
    weights: np.ndarray, scales: np.ndarray, bias: np.ndarray, finest: float
) -> tuple[BatchNorm, float]:
    """``v = (a * mul >> shift) + add`` and the real number that one unit of v stands for.

    Args:
        weights: uint8, to bound a.
        scales: float64 ``[out]``, the real number that one unit of a stands for.
        bias: float64 ``[out]``.
        finest: v need not resolve more than a small part of this.
    """
    centred = weights.reshape(len(weights), -1).astype(np.int64) - WEIGHT_ZERO
    reach = (255 * np.abs(centred).sum(1) * scales + np.abs(bias)).max()
    # Not finer than mul's 22 bits can say, nor than anyone can see in a byte.
    unit = max(reach / (1 << _V_BITS), scales.max() / (1 << _MUL_BITS), finest / (1 << _V_BITS))
    factor = scales / unit
    shift = np.clip(_MUL_BITS - np.ceil(np.log2(factor)), 0, _MAX_SHIFT).astype(np.int64)
    mul = np.rint(np.ldexp(factor, shift)).astype(np.int64)
    # A shift rounds down, by half a unit on the average.
    add = np.rint(bias / unit + 0.5 * (shift > 0)).astype(np.int64)
    return BatchNorm(mul, shift, add), float(unit)
