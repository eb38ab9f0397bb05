"""Convolutions of any kernel as 3x3 ones, for accelerators that have no others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as f

from ..lint.predicates import expand_to_ntuple
from .rule import constant, rewrite_rule

_Taps = tuple[tuple[int, ...], tuple[int, ...]]  # distances from the pixel, in rows and columns
_Parts = dict[int, tuple[int, int]]  # of a distance: how far its copy has moved, and the rest

_MOST_CHANNELS = 1024  # the K210's KPU takes no more


@rewrite_rule(
    "conv2d",
    done="dense convolutions of 3x3: the first ones move pixels into channels",
    serves=("kernel", "dilation", "stride", "padding", "groups"),
)
def threes(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int] | str,
    dilation: list[int],
    groups: int,
) -> Tensor | None:
    """A convolution whose result is as large as its input, or smaller by a stride of 2, 4, 8 ...

    One whose kernel reaches too far, as 5x5, or 3x3 with holes, becomes a 3x3 convolution of copies
    of its input, which are moved by a pixel each; one of a larger stride begins with space-to-depth
    (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016). A 3x3
    convolution whose kernels hold a single one makes such copies. Groups are filled with zeros.
    """
    steps, holes = expand_to_ntuple(stride, 2), expand_to_ntuple(dilation, 2)
    step, sides = steps[0], x.shape[2:]
    if x.ndim != 4 or steps[1] != step or step & (step - 1) or any(n % step for n in sides):
        return None
    reach = [hole * (side - 1) for hole, side in zip(holes, weight.shape[2:], strict=True)]
    if padding == "same":
        before = [total // 2 for total in reach]
        behind = [total - first for total, first in zip(reach, before, strict=True)]
    elif isinstance(padding, str):
        before = behind = [0, 0]
    else:
        before = behind = list(expand_to_ntuple(padding, 2))
    for side, total, first, last in zip(sides, reach, before, behind, strict=True):
        if (side + first + last - total - 1) // step + 1 != side // step:
            return None
    rows, columns = (
        tuple(hole * place - first for place in range(side))
        for hole, side, first in zip(holes, weight.shape[2:], before, strict=True)
    )
    return convolve(x, dense(weight, groups), bias, (rows, columns), step)


def dense(weight: Tensor, groups: int) -> Tensor:
    if groups == 1:
        return weight
    count, width = weight.shape[:2]

    def is_own() -> Tensor:
        group = torch.arange(count) // (count // groups)
        own = group[:, None] == torch.arange(width * groups)[None] // width
        return own.float()[:, :, None, None]

    return weight.repeat(1, groups, 1, 1) * constant(is_own)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, taps: _Taps, stride: int
) -> Tensor | None:
    """The sum of the pixels at these distances; ``weight[:, :, i, j]`` is of rows i, columns j.

    None where the copies would have too many channels.
    """
    furthest = max(abs(distance) for side in taps for distance in side)
    if stride == 1 and furthest == 0:
        return f.conv2d(x, weight, bias)
    if stride <= 2 and furthest <= 1:
        in_place = [{distance: (0, distance) for distance in side} for side in taps]
        kernels = _arrange(weight, in_place, [(0,), (0,)], [(-1, 0, 1)] * 2)
        return f.conv2d(x, kernels, bias, stride, 1)
    first, channels = min(stride, 2), x.shape[1]
    parts = [_split(side, stride) for side in taps]
    rows, columns = moves = [tuple(sorted({move for move, _ in one.values()})) for one in parts]
    left, right = rests = [tuple(sorted({rest for _, rest in one.values()})) for one in parts]
    kinds = len(rows) * len(columns)
    if kinds * channels > _MOST_CHANNELS:
        return None

    def copies() -> Tensor:
        kernels = torch.eye(kinds * channels).reshape(-1, kinds, channels)
        return kernels.transpose(1, 2).reshape(-1, channels, len(rows), len(columns))

    moved = convolve(x, constant(copies), None, (rows, columns), first)
    if moved is None:
        return None
    kernels = _arrange(weight, parts, moves, rests)
    return convolve(moved, kernels, bias, (left, right), stride // first)


def _split(side: Sequence[int], stride: int) -> _Parts:
    """Each distance as what a copy has moved, and the rest that is left at the copy's scale.

    A copy has lost what it moved beyond the border. So nothing is read there that the image has.
    """
    if stride == 1:
        rests = {distance: max(-1, min(1, distance)) for distance in side}
        return {distance: (distance - rest, rest) for distance, rest in rests.items()}
    halves = {distance: (distance % 2, distance // 2) for distance in side}
    is_near = all(abs(rest) <= 1 for _, rest in halves.values())
    if is_near or stride > 2 or any(abs(distance) > 3 for distance in side):
        return halves
    rests = {distance: (distance > 1) - (distance < -1) for distance in side}
    return {distance: (distance - 2 * rest, rest) for distance, rest in rests.items()}


def _arrange(
    weight: Tensor,
    parts: Sequence[_Parts],
    moves: Sequence[Sequence[int]],
    rests: Sequence[Sequence[int]],
) -> Tensor:
    """Kernels for the copies: of each channel of each copy, at each rest, zero where none is."""
    width = len(parts[1])
    rows, columns = ({part: index for index, part in enumerate(own.values())} for own in parts)
    places = [
        rows[above, down] * width + columns[beside, across]
        if (above, down) in rows and (beside, across) in columns
        else len(rows) * width
        for above in moves[0]
        for beside in moves[1]
        for down in rests[0]
        for across in rests[1]
    ]
    values = f.pad(weight.flatten(2), (0, 1))
    chosen = values.index_select(2, constant(lambda: torch.tensor(places)))
    count, channels, kinds = *weight.shape[:2], len(moves[0]) * len(moves[1])
    chosen = chosen.reshape(count, channels, kinds, -1).transpose(1, 2)
    return chosen.reshape(count, kinds * channels, len(rests[0]), len(rests[1]))
