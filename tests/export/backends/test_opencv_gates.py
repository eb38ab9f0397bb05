"""OpenCV 5 on maps that meet larger ones: right where they are written at full size."""

from __future__ import annotations

from pathlib import Path

import torch
from edgeark.export.targets.isolated import WorkerTarget
from support.target_base import installed_target
from support.tries import try_each
from torch import Tensor, nn
from torch.nn import functional as f

GATE = torch.arange(72.0).sin().view(1, 8, 3, 3) / 6
SAME = torch.arange(64.0).sin().view(8, 8, 1, 1) / 3


def gate(x: Tensor) -> Tensor:
    return f.conv2d(x, GATE, padding=1)


def squeezed(x: Tensor) -> Tensor:
    return f.conv2d(x.mean((2, 3), keepdim=True), SAME)


def rows(x: Tensor) -> Tensor:
    return x.flatten(2) + f.conv1d(x.mean(3), SAME[..., 0]).mean(2, keepdim=True)


def test_maps_of_one_channel_and_of_one_pixel_meet_larger_ones(tmp_path: Path) -> None:
    target = installed_target("opencv5")
    assert isinstance(target, WorkerTarget)
    functions = [
        lambda x: x * gate(x).sigmoid(),
        lambda x: gate(x) - x,
        lambda x: torch.maximum(x.relu(), gate(x)),
        lambda x: x + gate(x),
        lambda x: x + squeezed(x),
        lambda x: x + nn.functional.batch_norm(squeezed(x), torch.zeros(8), torch.ones(8)),
        rows,
    ]
    tried = try_each(target, functions, tmp_path)
    assert min(each.sqnr_db for each in tried) > 100, [each.error for each in tried]
