"""Transposed convolutions with groups and batch normalisation, which converters fold wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.targets.base import Precision
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches
from torch import nn


def normalised(layer: nn.ConvTranspose2d) -> nn.Module:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU())


@pytest.mark.parametrize(
    ("name", "precision"),
    [("executorch", "float32"), ("executorch", "int8"), ("onnxruntime", "int8")],
)
def test_groups_agree(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [
        normalised(nn.ConvTranspose2d(8, 8, 4, 2, 1, 0, 8)),
        normalised(nn.ConvTranspose2d(8, 8, 4, 2, 1, 0, 8, bias=False)),
        normalised(nn.ConvTranspose2d(8, 4, 4, 2, 1, 0, 2)),
        normalised(nn.ConvTranspose2d(8, 16, 2, 2, 0, 0, 4)),
        normalised(nn.ConvTranspose2d(8, 6, 3, 1, 1)),
        nn.ConvTranspose2d(8, 4, 3, 1, 1, groups=2),
    ]
    if (name, precision) != ("executorch", "int8"):  # which has a rule of its own for rows
        rows = nn.ConvTranspose1d(8, 4, 4, 2, 1, groups=2)
        layers.append(nn.Sequential(nn.Flatten(2), rows, nn.BatchNorm1d(4)))
    graph = settle(Branches(layers), SPEC, tmp_path)
    prove(installed_target(name), graph, precision, tmp_path)
