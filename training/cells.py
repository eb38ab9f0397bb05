"""What the losses of the detectors share: cells of their maps, who owns one, overlap of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss

_LEAST_HALF = 0.01  # pixels that each box is larger by, on every side


@dataclass(frozen=True)
class Places:
    """The ``P`` cells of all maps: centres ``[P, 2]`` and strides ``[P]`` in input pixels."""

    centres: Tensor
    strides: Tensor

    @classmethod
    def of(cls, maps: Sequence[Tensor], strides: Sequence[int]) -> Places:
        """Those of maps ``[N, C, h, w]``, one a stride: row by row, one map after another."""
        centres, sides = [], []
        for output, stride in zip(maps, strides, strict=True):
            height, width = output.shape[2:]
            rows = torch.arange(height, device=output.device) + 0.5
            columns = torch.arange(width, device=output.device) + 0.5
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            centres.append(torch.stack([x, y], 2).view(-1, 2) * stride)
            sides.append(torch.full((height * width,), float(stride), device=output.device))
        return cls(torch.cat(centres), torch.cat(sides))


def rows_of_maps(maps: Sequence[Tensor]) -> Tensor:
    """Maps ``[N, C, h, w]`` as float32 rows ``[N, P, C]``, in the order of :class:`Places`."""
    return torch.cat([output.float().flatten(2) for output in maps], 2).transpose(1, 2)


def owns_cell(cell: Tensor, box: Tensor, value: Tensor, cells: int) -> Tensor:
    """Which of ``m`` pairs of a cell and a box keep the cell: those of the highest value.

    Of equal ones the first box, so that no cell has two owners.

    Args:
        cell: int64 ``[m]``, below ``cells``.
        box: int64 ``[m]``; a box is in a cell's pairs once at most.
        value: float ``[m]``.
        cells: how many there are.

    Returns:
        bool ``[m]``.
    """
    best = value.new_full((cells,), -torch.inf).scatter_reduce_(0, cell, value, "amax")
    owns = value == best[cell]
    first = box.new_full((cells,), torch.iinfo(torch.long).max)
    first.scatter_reduce_(0, cell[owns], box[owns], "amin")
    return owns & (box == first[cell])


def elementwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of pairs, ``[m, 4]`` and ``[m, 4]`` to ``[m]``."""
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-9)


def box_loss(drawn: Tensor, true: Tensor) -> Tensor:
    """Complete IoU (Zheng et al., "Distance-IoU loss", 2019) of pairs ``[m, 4]``, to ``[m]``.

    Every box counts as a little larger: a side of 0 would have a finite loss and a gradient that
    is none.
    """
    edge = true.new_tensor([-1, -1, 1, 1]) * _LEAST_HALF
    return complete_box_iou_loss(drawn + edge, true + edge, reduction="none")
