"""What the KPU computes for one convolution, to the bit and fast.

For an output channel o and a pixel, with x the uint8 input under the kernel (``pad_value`` outside
the map) and w the uint8 weights, all integers, ``>>`` rounding down::

    a = sum(x * w) + (arg_x * sum(x) >> shr_x) + (arg_w * sum(w) >> shr_w) + arg_add * channels

Sums go over the whole kernel and all input channels; a depthwise convolution has one input channel
for each output channel, so ``channels`` is 1. ``a`` becomes a byte by the tables of ``tables.py``,
and bytes are pooled. Stride is 1 always: a stride of 2 is a pool that picks one pixel of four.

How it is fast and exact at once: floating-point numbers hold integers exactly up to 2**24 (float32)
or 2**53 (float64), and sums of them are exact in any order as long as every partial sum stays below
that. So the matrix product runs in BLAS, in float32 where the weights' own bound allows it; scaling
by powers of two is exact too, and rounding to even is the processor's own. Where a bound cannot be
proved, int64 takes over. Pixels that a pool does not pick are never computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .layer import KmodelError
from .tables import HIGHEST, LOWEST, Activation, BatchNorm

_FLOAT32_EXACT = 1 << 24
_BLOCK = 1 << 17  # numbers in flight: about what a core's cache holds


class Pool(IntEnum):
    """What happens to the bytes of a convolution's output, by the number that the KPU knows it."""

    NONE = 0
    MAX_2 = 1
    MEAN_2 = 2
    MAX_4 = 3
    MEAN_4 = 4
    LEFT_TOP_2 = 5
    RIGHT_TOP_2 = 6
    LEFT_TOP_4 = 7
    MEAN_2_STRIDE_1 = 8
    MAX_2_STRIDE_1 = 9

    @property
    def stride(self) -> int:
        """A side of ``size`` pixels becomes ``size // stride``."""
        return _STRIDES.get(self, 2)

    @property
    def pick(self) -> tuple[int, int]:
        """(step, first column) of the pixels that are kept as they are; (1, 0) keeps all."""
        return _PICKS.get(self, (1, 0))


_STRIDES = {
    **dict.fromkeys((Pool.NONE, Pool.MEAN_2_STRIDE_1, Pool.MAX_2_STRIDE_1), 1),
    **dict.fromkeys((Pool.MAX_4, Pool.MEAN_4, Pool.LEFT_TOP_4), 4),
}
_PICKS = {Pool.LEFT_TOP_2: (2, 0), Pool.RIGHT_TOP_2: (2, 1), Pool.LEFT_TOP_4: (4, 0)}


def pool_bytes(maps: np.ndarray, kind: Pool) -> np.ndarray:
    """Pool uint8 ``[..., height, width]`` by any kind; a mean is rounded down.

    The pools of stride 1 look one pixel to the right and down, and stop at the edge.
    """
    step, first = kind.pick
    stride = kind.stride
    height, width = (side // stride * stride for side in maps.shape[-2:])
    if step > 1 or kind is Pool.NONE:
        return maps[..., :height:step, first:width:step]
    if stride == 1:
        edge = [(0, 0)] * (maps.ndim - 2) + [(0, 1), (0, 1)]
        maps = np.pad(maps, edge, mode="edge")
    side = max(stride, 2)
    parts = [
        maps[..., y : y + height : stride, x : x + width : stride]
        for y in range(side)
        for x in range(side)
    ]
    if kind in (Pool.MAX_2, Pool.MAX_4, Pool.MAX_2_STRIDE_1):
        result = parts[0].copy()
        for part in parts[1:]:
            np.maximum(result, part, out=result)
        return result
    total = np.zeros(parts[0].shape, np.uint16)
    for part in parts:
        total += part
    return (total >> (2 if side == 2 else 4)).astype(np.uint8)


class Convolution:
    """A convolution, made ready for many images.

    Args:
        weights: uint8 ``[out, in, k, k]``, or ``[channels, 1, k, k]`` for a depthwise one; k is 1
            or 3.
        depthwise: each channel on its own.
        pad_value: what lies outside the map.
        arg_x, shr_x, arg_w, shr_w, arg_add: as in the module's formula.
        bn, activation, pool: what follows the sum.
    """

    def __init__(
        self,
        weights: np.ndarray,
        depthwise: bool,
        pad_value: int,
        arg_x: int,
        shr_x: int,
        arg_w: int,
        shr_w: int,
        arg_add: int,
        bn: BatchNorm,
        activation: Activation,
        pool: Pool,
    ) -> None:
        self._depthwise, self._pad_value, self._pool = depthwise, pad_value, pool
        self._kernel = weights.shape[-1]
        taps = weights.reshape(len(weights), -1).astype(np.int64)
        # arg_x * sum(x) >> shr_x: the whole part of arg_x / 2**shr_x is added to every weight,
        # which makes them small numbers around zero. The rest of it is zero in every file seen.
        whole, rest = divmod(arg_x, 1 << shr_x)
        centred = taps + whole
        most_rest = 255 * taps.shape[1] * rest >> shr_x
        low = 255 * np.minimum(centred, 0).sum(1)
        high = 255 * np.maximum(centred, 0).sum(1) + most_rest
        reach = 255 * int(np.abs(centred).sum(1).max())
        self._dtype = np.float32 if reach < _FLOAT32_EXACT else np.float64
        self._weights = centred.astype(self._dtype)
        self._rest = rest / (1 << shr_x)
        constant = (arg_w * taps.sum(1) >> shr_w) + arg_add * weights.shape[1]
        self._to_bytes = _ToBytes(low, high, constant, bn, activation)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """uint8 ``[N, channels, height, width]`` to uint8, pooled.

        Raises:
            KmodelError: a sum needs more than the KPU's 36 bits.
        """
        step, first = self._pool.pick
        count, rows, columns = len(x), x.shape[2] // step, x.shape[3] // step
        margin = self._kernel // 2
        if margin:
            edges = ((0, 0), (0, 0), (margin, margin), (margin, margin))
            x = np.pad(x, edges, constant_values=self._pad_value)
        windows = sliding_window_view(x, (self._kernel, self._kernel), axis=(2, 3))
        windows = windows[:, :, : rows * step : step, first : first + columns * step : step]
        sums = self._depthwise_sums if self._depthwise else self._dense_sums
        result = np.empty((count, len(self._weights), rows, columns), np.uint8)
        for images, lines in _blocks(count, rows, columns * max(self._weights.shape)):
            result[images, :, lines] = self._to_bytes(sums(windows[images, :, lines]))
        return result if step > 1 else pool_bytes(result, self._pool)

    def _dense_sums(self, windows: np.ndarray) -> np.ndarray:
        """``[n, in, rows, columns, k, k]`` to sums ``[n, out, rows, columns]`` as float."""
        count, channels, rows, columns = windows.shape[:4]
        taps = np.ascontiguousarray(windows.transpose(0, 1, 4, 5, 2, 3), self._dtype)
        taps = taps.reshape(count, channels * self._kernel**2, rows * columns)
        sums = self._weights @ taps
        if self._rest:
            sums = self._add_rest(sums, taps.sum(1, keepdims=True))
        return sums.reshape(count, -1, rows, columns)

    def _depthwise_sums(self, windows: np.ndarray) -> np.ndarray:
        """As :meth:`_dense_sums`, channel by channel."""
        sums = np.zeros(windows.shape[:4], self._dtype)
        plain = np.zeros_like(sums)
        for index in range(self._kernel**2):
            tap = windows[..., index // self._kernel, index % self._kernel].astype(self._dtype)
            if self._rest:
                plain += tap
            tap *= self._weights[:, index, None, None]
            sums += tap
        return self._add_rest(sums, plain) if self._rest else sums

    def _add_rest(self, sums: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """The part of ``arg_x * sum(x) >> shr_x`` that no weight holds."""
        return sums + np.floor(plain.astype(np.float64) * self._rest)


def _blocks(count: int, rows: int, numbers: int) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of lines that fit the cache; a line costs so many ``numbers``."""
    images = max(1, _BLOCK // (rows * numbers))
    lines = max(1, _BLOCK // numbers)
    for image in range(0, count, images):
        for line in range(0, rows, lines):
            yield slice(image, image + images), slice(line, min(line + lines, rows))


class _ToBytes:
    """From sums to bytes: constant, batch normalisation, activation; per channel ``[channels]``.

    ``low`` and ``high`` bound the sums before ``constant`` is added. The bounds tell whether each
    sum has to be checked, and which segments of the activation can be reached at all.
    """

    def __init__(
        self,
        low: np.ndarray,
        high: np.ndarray,
        constant: np.ndarray,
        bn: BatchNorm,
        activation: Activation,
    ) -> None:
        self._constant, self._mul, self._shift, self._add = (
            values[:, None, None] for values in (constant, bn.mul, bn.shift, bn.add)
        )
        scale = np.ldexp(bn.mul.astype(np.float64), -bn.shift)
        self._scale = scale[:, None, None]
        self._offset = (constant * scale + bn.add)[:, None, None]

        # If no sum leaves 36 bits, float64 is exact as well: a shift is 15 at most, so that every
        # product is below 2**52.
        ends = np.stack([low + constant, high + constant])
        v_low, v_high = _widened(ends * scale + bn.add)
        self._within_bits = bool(
            min(ends.min(), v_low) >= LOWEST and max(ends.max(), v_high) <= HIGHEST
        )
        self._activation = _Segments(activation, v_low, v_high)

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        if self._within_bits:
            v = np.multiply(sums, self._scale, dtype=np.float64)
            v += self._offset
            return self._activation(np.floor(v, out=v))
        a = _checked(sums.astype(np.int64) + self._constant)
        v = _checked((a * self._mul >> self._shift) + self._add)
        return self._activation(v.astype(np.float64))


def _widened(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest, with room for rounding."""
    low, high = float(values.min()), float(values.max())
    return low - 2 - 1e-9 * abs(low), high + 2 + 1e-9 * abs(high)


def _checked(values: np.ndarray) -> np.ndarray:
    if values.min() < LOWEST or values.max() > HIGHEST:
        raise KmodelError(
            "a sum needs more than the 36 bits that the KPU has: what it does then is not known"
        )
    return values


class _Segments:
    """The activation table for v between two bounds; v is a whole float64, the result uint8.

    ``(v - x_start) * mul`` has at most 51 bits, so float64 is exact.
    """

    def __init__(self, table: Activation, low: float, high: float) -> None:
        # "The last i with v > x_start[i]" is a count, also where a table does not rise: v exceeds
        # the least start from i on exactly if some segment from i on begins below v.
        starts = np.minimum.accumulate(table.x_start[::-1])[::-1]
        first = max(0, int((starts < low).sum()) - 1)
        last = max(first, int((starts < high).sum()) - 1)
        kept = [first]
        for i in range(first + 1, last + 1):
            flat = table.mul[i] == table.mul[kept[-1]] == 0
            if not (flat and table.bias[i] == table.bias[kept[-1]]):
                kept.append(i)
        self._starts = [float(starts[i]) for i in kept[1:]]
        mul, shift = table.mul[kept], table.shift[kept]
        self._slope = np.ldexp(mul.astype(np.float64), -shift)
        self._intercept = np.ldexp((-table.x_start[kept] * mul).astype(np.float64), -shift)
        self._bias = table.bias[kept].astype(np.float64)
        # Below a table's first start, segment 0 runs backwards.
        self._may_fall = bool((mul < 0).any() or (kept[0] == 0 and mul[0] != 0))

    def __call__(self, v: np.ndarray) -> np.ndarray:
        if not self._starts:
            t, bias = v * self._slope[0], self._bias[0]
            t += self._intercept[0]
        else:
            segment = np.zeros(v.shape, np.uint8)
            for start in self._starts:
                segment += v > start
            segment = segment.astype(np.intp)
            t, bias = self._slope.take(segment), self._bias.take(segment)
            t *= v
            t += self._intercept.take(segment)
        y = np.rint(t)
        if self._may_fall:  # see tables.py on how a negative product is rounded
            y += (t < 0) * 2 * (np.floor(t) - y)
        y += bias
        return np.clip(y, 0, 255, out=y).astype(np.uint8)
