"""Small networks for the K210."""

from __future__ import annotations

from dataclasses import replace

from edgeark.zoo import model_entry
from torch import nn

SPEC = replace(model_entry("vgg_kpu").spec, input_size=(16, 24), classes=("a",))


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
