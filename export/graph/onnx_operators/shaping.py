"""The same numbers in another shape: reshaping, joining, cutting, padding, repeating."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator
from .windows import pad_list


@operator("Reshape")
def reshape(node: OnnxNode) -> Function:
    """A zero stands for the input's size, unless ``allowzero``."""
    wanted = node.ints(1)
    if wanted is None:
        node.fail("it has no shape")
    if not node.attribute("allowzero", 0):
        size = node.shape(0)
        wanted = [size[i] if n == 0 else n for i, n in enumerate(wanted)]
    return lambda x: x.reshape(wanted)


@operator("Flatten")
def flatten(node: OnnxNode) -> Function:
    """To a matrix."""
    rank = node.rank(0)
    axis = node.attribute("axis", 1)
    axis = axis + rank if axis < 0 else axis
    if axis == 1 and rank >= 2:
        return lambda x: torch.flatten(x, 1)
    rows = math.prod(node.shape(0)[:axis])
    return lambda x: x.reshape(rows, -1)


@operator("Transpose")
def transpose(node: OnnxNode) -> Function:
    order = node.attribute("perm") or list(reversed(range(node.rank(0))))
    return lambda x: x.permute(order)


@operator("Squeeze")
def squeeze(node: OnnxNode) -> Function:
    given, shape = node.ints_of("axes", 1), node.shape(0)
    axes = sorted({a % len(shape) for a in given}) if given else None
    if axes is None:
        axes = [i for i, n in enumerate(shape) if n == 1]
    if any(shape[a] != 1 for a in axes):
        node.fail(f"axes {axes} of shape {shape} are not all of size 1")
    return lambda x: x.squeeze(axes[0]) if len(axes) == 1 else x.squeeze(axes)


@operator("Unsqueeze")
def unsqueeze(node: OnnxNode) -> Function:
    given = node.ints_of("axes", 1) or []
    rank = node.rank(0) + len(given)
    axes = sorted(a % rank for a in given)

    def function(x: Tensor) -> Tensor:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return function


@operator("Concat")
def concat(node: OnnxNode) -> Function:
    axis = node.axis(0, 1)
    return lambda *parts: torch.cat(parts, axis)


@operator("Split")
def split(node: OnnxNode) -> Function:
    axis, sizes = node.axis(0, 0), node.ints_of("split", 1)
    length, parts = node.shape(0)[axis], len(node.outputs)
    size = -(-length // parts)
    if sizes is None or len(set(sizes)) == 1:
        return lambda x: torch.split(x, size, axis)
    return lambda x: torch.split(x, sizes, axis)


@operator("Slice")
def slice_of(node: OnnxNode) -> Function:
    """Backwards as a slice that is then turned round."""
    starts, ends = node.ints_of("starts", 1) or [], node.ints_of("ends", 2) or []
    axes, steps = node.ints_of("axes", 3), node.ints_of("steps", 4)
    shape = node.shape(0)
    axes = [a % len(shape) for a in axes or range(len(starts))]
    cuts: list[tuple[int, int, int, int]] = []
    turned: list[int] = []
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(axes), strict=True):
        taken = range(*slice(start, end, step).indices(shape[axis]))
        if step < 0:
            taken = taken[::-1]
            turned.append(axis)
        if taken != range(shape[axis]):
            stop = taken[-1] + 1 if taken else taken.start
            cuts.append((axis, taken.start, stop, taken.step))

    def function(x: Tensor) -> Tensor:
        for cut in cuts:
            x = torch.ops.aten.slice.Tensor(x, *cut)
        return x.flip(turned) if turned else x

    return function


@operator("Expand")
def expand(node: OnnxNode) -> Function:
    shape = torch.broadcast_shapes(node.shape(0), node.ints(1) or [])
    return (lambda x: x) if shape == node.shape(0) else lambda x: x.expand(shape)


@operator("Tile")
def tile(node: OnnxNode) -> Function:
    repeats = node.ints(1) or []
    return lambda x: x.repeat(repeats)


_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad")
def pad(node: OnnxNode) -> Function:
    rank, mode = node.rank(0), node.attribute("mode", "constant")
    pads = node.ints_of("pads", 1) or []
    value = node.attribute("value", 0.0) if node.opset < 11 else node.number(2)
    axes = [a % rank for a in node.ints(3) or range(rank)]
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    if not any(before + after):
        return lambda x: x
    if mode == "constant":
        flat, filling = pad_list(before, after), value or 0
        return lambda x: F.pad(x, flat, value=filling)
    if mode not in _MODES:
        node.fail(f"mode {mode!r} is not known")
    if _torch_pads(mode, node.shape(0), before, after):
        flat = pad_list(before[2:], after[2:])
        flat += [0] * (2 * (rank - 2) - len(flat))
        return lambda x: F.pad(x, flat, _MODES[mode])
    return _pad_by_index(node, mode, before, after)


def _torch_pads(mode: str, shape: tuple[int, ...], before: list[int], after: list[int]) -> bool:
    """All axes but the first two, by less than their size."""
    smallest = min(before + after)
    limits = [n - (mode == "reflect") for n in shape]
    fits = all(max(p) <= n for *p, n in zip(before, after, limits, strict=True))
    return len(shape) in (3, 4, 5) and not any(before[:2] + after[:2]) and smallest >= 0 and fits


def _pad_by_index(node: OnnxNode, mode: str, before: list[int], after: list[int]) -> Function:
    axes = []
    for axis, (size, *pads) in enumerate(zip(node.shape(0), before, after, strict=True)):
        if any(pads):
            wider = [max(n, 0) for n in pads]
            index = np.pad(np.arange(size), wider, mode=mode)  # type: ignore[call-overload]
            index = index[max(-pads[0], 0) : len(index) - max(-pads[1], 0)]
            node.add(torch.from_numpy(np.ascontiguousarray(index)))
            axes.append(axis)

    def function(x: Tensor, *indices: Tensor) -> Tensor:
        for axis, index in zip(axes, indices, strict=True):
            x = torch.index_select(x, axis, index)
        return x

    return function


@operator("DepthToSpace")
def depth_to_space(node: OnnxNode) -> Function:
    block = node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "CRD":
        return lambda x: F.pixel_shuffle(x, block)
    n, c, h, w = node.shape(0)
    depth = c // block**2

    def function(x: Tensor) -> Tensor:
        blocks = x.reshape(n, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(n, depth, h * block, w * block)

    return function


@operator("SpaceToDepth")
def space_to_depth(node: OnnxNode) -> Function:
    block = node.attribute("blocksize")
    n, c, h, w = node.shape(0)
    rows, columns = h // block, w // block

    def function(x: Tensor) -> Tensor:
        blocks = x.reshape(n, c, rows, block, columns, block).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, c * block**2, rows, columns)

    return function


@operator("Trilu")
def trilu(node: OnnxNode) -> Function:
    upper, diagonal = node.attribute("upper", 1), node.number(1) or 0
    return lambda x: torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)
