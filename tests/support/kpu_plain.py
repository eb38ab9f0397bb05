"""A second KPU, in Python's integers, as the specification's formulas read; slow and plain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from edgeark.export.kpu import Activation, KpuConv, Pool


class TooManyBits(Exception):
    pass


def bits36(value: int) -> int:
    if not -(2**35) <= value < 2**35:
        raise TooManyBits
    return value


def rounded_shift(value: int, shift: int) -> int:
    if shift == 0:
        return value
    floor, rest, half = value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1)
    sign = (value > 0) - (value < 0)
    if rest < half:
        return floor
    return floor + sign if rest > half else floor + sign * (floor & 1)


def plain_activation(table: Activation, v: int) -> int:
    segment = 0
    for i in range(16):
        if v > int(table.x_start[i]):
            segment = i
    product = (v - int(table.x_start[segment])) * int(table.mul[segment])
    y = rounded_shift(product, int(table.shift[segment])) + int(table.bias[segment])
    return min(max(y, 0), 255)


def plain_pixel(layer: KpuConv, x: list, o: int, y: int, column: int) -> int:
    margin = layer.kernel // 2
    channels = [o] if layer.depthwise else list(range(layer.in_channels))
    sum_xw = sum_x = sum_w = 0
    for i, channel in enumerate(channels):
        for ky in range(layer.kernel):
            for kx in range(layer.kernel):
                yy, xx = y + ky - margin, column + kx - margin
                inside = 0 <= yy < layer.height and 0 <= xx < layer.width
                pixel = x[channel][yy][xx] if inside else layer.pad_value
                weight = int(layer.weights[o, i, ky, kx])
                sum_xw, sum_x, sum_w = sum_xw + pixel * weight, sum_x + pixel, sum_w + weight
    a = sum_xw + (layer.arg_x * sum_x >> layer.shr_x) + (layer.arg_w * sum_w >> layer.shr_w)
    a = bits36(a + layer.arg_add * len(channels))
    bn = layer.bn
    v = bits36((a * int(bn.mul[o]) >> int(bn.shift[o])) + int(bn.add[o]))
    return plain_activation(layer.activation, v)


def plain_pool(kind: Pool, pixel: Callable[[int, int], int], size: tuple[int, int]) -> list:
    """``pixel(y, x)`` pooled; only what the pool looks at is computed."""
    side = {Pool.MAX_4: 4, Pool.MEAN_4: 4, Pool.LEFT_TOP_4: 4}.get(kind, 2)
    stride = 1 if kind in (Pool.NONE, Pool.MEAN_2_STRIDE_1, Pool.MAX_2_STRIDE_1) else side
    window = [(y, x) for y in range(side) for x in range(side)]

    def at(y: int, x: int) -> int:
        if kind in (Pool.NONE, Pool.LEFT_TOP_2, Pool.LEFT_TOP_4):
            return pixel(y, x)
        if kind is Pool.RIGHT_TOP_2:
            return pixel(y, x + 1)
        if kind is Pool.MAX_2_STRIDE_1:  # pixels outside do not count
            inside = [(y + b, x + a) for b, a in window if y + b < size[0] and x + a < size[1]]
            return max(pixel(*place) for place in inside)
        if kind is Pool.MEAN_2_STRIDE_1:  # coordinates stop at the edge
            last, end = size[0] - 1, size[1] - 1
            return sum(pixel(min(y + b, last), min(x + a, end)) for b, a in window) // 4
        values = [pixel(y + b, x + a) for b, a in window]
        return max(values) if kind in (Pool.MAX_2, Pool.MAX_4) else sum(values) // len(values)

    rows, columns = (n // stride for n in size)
    return [[at(y * stride, x * stride) for x in range(columns)] for y in range(rows)]


def plain_convolution(layer: KpuConv, x: np.ndarray) -> np.ndarray:
    size = layer.height, layer.width
    return np.array(
        [
            plain_pool(layer.pool, lambda y, c, o=o: plain_pixel(layer, x.tolist(), o, y, c), size)
            for o in range(layer.out_channels)
        ]
    )
