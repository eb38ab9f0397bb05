"""Addresses for tensors that live for a while: the same for both memories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """``size`` units that are in use from step ``first`` to step ``last``, both included."""

    size: int
    first: int
    last: int


def allocate(blocks: Sequence[Block]) -> list[int]:
    """An offset for each block, so that two that live at the same time never share a unit.

    Large blocks choose first, and each takes the lowest place that fits. That is not always the
    least memory; for a chain of layers it is.
    """
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for index in sorted(range(len(blocks)), key=lambda i: (-blocks[i].size, blocks[i].first)):
        block, offset = blocks[index], 0
        rivals = [
            (offsets[other], offsets[other] + blocks[other].size)
            for other in placed
            if blocks[other].first <= block.last and block.first <= blocks[other].last
        ]
        for start, end in sorted(rivals):
            if offset + block.size <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append(index)
    return offsets


def peak(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """The units that all blocks need at their offsets."""
    return max((o + b.size for b, o in zip(blocks, offsets, strict=True)), default=0)
