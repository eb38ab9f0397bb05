"""Pools that litert-torch refuses or gets wrong, and those that ai-edge-quantizer has no int8 of.

A maximum is taken of shifted maps; an average is that of a padded map, times a constant, or a
product with a constant matrix along each axis. A part of the worker.
"""

from __future__ import annotations

import functools
import math

import torch
from litert_proxies import constant, each_of, shape_of

_aten = torch.ops.aten


def _maximum(node, x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    """Of volumes, or dilated: the others are converted as they are."""
    dims = int(node.target._schema.name[-2])
    holes = each_of(dilation, dims)
    if dims < 3 and set(holes) == {1}:
        return None
    sides, windows = _sides(node, x, kernel, stride, padding, dims), []
    for (n, m, k, s, p), d in zip(sides, holes, strict=True):
        taken = [[o * s - p + i * d for i in range(k)] for o in range(m)]
        windows.append([[at for at in places if 0 <= at < n] for places in taken])
    if not all(map(all, windows)):  # minus infinity, of which nothing can come
        return None
    return _largest(x, windows)


def _adaptive_maximum(node, x, size):
    """None where their places are wanted."""
    if any(user.args[1] != 0 and user.users for user in node.users):
        return None
    sizes = [(n, m) for n, m in zip(shape_of(x)[-len(size) :], size, strict=True)]
    y = _largest(x, [[list(range(*ends)) for ends in _adaptive(n, m)] for n, m in sizes])
    return y, y


def _adaptive(n, m):
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _largest(x, windows):
    """By the places that each window has along each axis: of a short one, some count twice."""
    rank = len(shape_of(x))
    for axis, taken in enumerate(windows, rank - len(windows)):
        if len(taken) == 1:
            x = x.narrow(axis, taken[0][0], len(taken[0])).amax(axis, keepdim=True)
            continue
        parts = []
        for i in range(max(map(len, taken))):
            places = torch.tensor([window[min(i, len(window) - 1)] for window in taken])
            parts.append(x.index_select(axis, constant(x, places)))
        x = functools.reduce(torch.maximum, parts)
    return x


def _sides(node, x, kernel, stride, padding, dims):
    """Along each axis: the map's size, the result's, kernel, stride and padding."""
    kernel, padding = each_of(kernel, dims), each_of(padding, dims)
    sizes = shape_of(x)[-dims:], node.meta["val"].shape[-dims:]
    return list(zip(*sizes, kernel, each_of(stride or kernel, dims), padding, strict=True))


def _average(node, x, kernel, stride=(), padding=0, ceil_mode=False, counts=True, divisor=None):
    """Of volumes, or whose windows do not all count alike."""
    dims = int(node.target._schema.name[-2])
    sides = _sides(node, x, kernel, stride, padding, dims)
    is_plain = counts or not any(p for *_, p in sides)
    is_same = all(s == 1 and 2 * p == k - 1 for _, _, k, s, p in sides)
    if dims < 3 and not divisor and (is_plain or (is_same and not ceil_mode)):
        return None
    lengths = [_lengths(*side, counts and not divisor) for side in sides]
    if divisor:
        lengths = [[1] * len(side) for side in lengths]
    if dims == 3:
        matrices = [_matrix(*side, length) for side, length in zip(sides, lengths, strict=True)]
        y = _weigh(x, matrices)
        return y / divisor if divisor else y
    ends = [(p, (m - 1) * s + k - n - p) for n, m, k, s, p in sides]
    padded = torch.nn.functional.pad(x, [max(e, 0) for pair in ends[::-1] for e in pair])
    kernel, strides = ([side[i] for side in sides] for i in (2, 3))
    y = getattr(torch.nn.functional, f"avg_pool{dims}d")(padded, kernel, strides)
    factors = [torch.tensor(length).reciprocal() for length in lengths]
    total = math.prod(kernel) / (divisor or 1)
    return y * constant(x, total * functools.reduce(torch.outer, factors))


def _lengths(n, m, k, s, p, counts):
    """By how many pixels each window divides."""
    low, high = (-p, n + p) if counts else (0, n)
    starts = [i * s - p for i in range(m)]
    return [min(start + k, high) - max(start, low) for start in starts]


def _matrix(n, m, k, s, p, lengths):
    starts = [i * s - p for i in range(m)]
    return _weights(n, [(max(a, 0), min(a + k, n)) for a in starts], lengths)


def _adaptive_average(node, x, size):
    """Where the sizes do not divide the map's, or of volumes."""
    sizes = [(n, m) for n, m in zip(shape_of(x)[-len(size) :], size, strict=True)]
    is_even = all(n % m == 0 for n, m in sizes)
    if is_even and (len(size) < 3 or {*size} == {1}):
        return None
    windows = [_adaptive(n, m) for n, m in sizes]
    return _weigh(
        x,
        [
            _weights(n, taken, [b - a for a, b in taken])
            for (n, _), taken in zip(sizes, windows, strict=True)
        ],
    )


def _weights(n, windows, lengths):
    """``[n, m]``: what each window's average takes of each of the ``n`` pixels."""
    weights = torch.zeros(n, len(windows))
    for i, ((a, b), length) in enumerate(zip(windows, lengths, strict=True)):
        weights[a:b, i] = 1 / length
    return weights


def _weigh(x, matrices):
    rank = len(shape_of(x))
    for axis, matrix in enumerate(matrices, rank - len(matrices)):
        if torch.equal(matrix, torch.eye(len(matrix))):
            continue
        x = (x.transpose(axis, rank - 1) @ constant(x, matrix)).transpose(axis, rank - 1)
    return x


FORMS = {
    **{getattr(_aten, f"max_pool{n}d").default: _maximum for n in (1, 2, 3)},
    **{getattr(_aten, f"adaptive_max_pool{n}d").default: _adaptive_maximum for n in (1, 2, 3)},
    **{getattr(_aten, f"avg_pool{n}d").default: _average for n in (1, 2, 3)},
    **{getattr(_aten, f"adaptive_avg_pool{n}d").default: _adaptive_average for n in (2, 3)},
}
"""By operator, as in :mod:`litert_forms`."""
