"""Our networks beside the public ones: ``python benchmarks/inference.py [--help]``.

Each pair is one network twice, with the same weights: ours as ``edgeark export`` writes it, and the
public implementation as its users export it. Both run in this process on ONNX Runtime, with the
same options and the same picture, in turn. A round is one run of each, and what counts is the
median of the rounds' ratios: what slows the machine down slows both runs of a round.

The pairs with Ultralytics' code, which is under the AGPL and no dependency of edgeark, run where it
can be imported; ``--ultralytics`` names the Python of another environment for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch
import torch.nn.functional as F
import torchvision
from edgeark.export.graph import Graph
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.importers import from_timm, from_torchvision, from_ultralytics
from onnx import helper, shape_inference
from torch import Tensor, nn

CHILD = Path(__file__).with_name("ultralytics_child.py")


@dataclass(frozen=True)
class Case:
    """Two files that are compared; ``equal`` says that they compute the same function."""

    name: str
    ours: Path
    theirs: Path
    equal: bool = True


class PlainUNet(nn.Module):
    """A UNet as tutorials write it: interpolate to the skip's size, ask the map for its sizes."""

    def __init__(self, base: int, in_channels: int) -> None:
        super().__init__()
        widths = [base, 2 * base, 4 * base, 8 * base, 8 * base]
        pairs = zip([in_channels, *widths], widths, strict=False)
        self.down = nn.ModuleList(_double(a, a_out, a_out) for a, a_out in pairs)
        self.up = nn.ModuleList(
            _double(deep + skip, (deep + skip) // 2, out)
            for deep, skip, out in zip(
                [widths[4], *widths[2::-1]],
                widths[3::-1],
                [*widths[2::-1], base],
                strict=True,
            )
        )
        self.last = nn.Conv2d(base, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = block(torch.cat([skip, x], dim=1))
        return self.last(x)


def _double(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((in_channels, hidden), (hidden, out_channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers)


def copy_in_order(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Weights of a network with the same layers in the same order under other names."""
    names = model.state_dict().keys()
    model.load_state_dict(dict(zip(names, state.values(), strict=True)))
    return model
