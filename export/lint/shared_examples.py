"""Examples of rules that several targets have, and what their examples are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from .examples import Example

GRID = f.affine_grid(
    torch.tensor([[[1.2, 0.3, 0.1], [-0.3, 1.1, 0.05]]]), [1, 8, 24, 40], align_corners=False
)
KERNEL = torch.arange(-12.0, 12).sin().view(4, 2, 3) / 3  # of a 1-D convolution


def sample(x: Tensor, mode: str, padding: str) -> Tensor:
    grid = GRID.expand(len(x), -1, -1, -1)
    return f.grid_sample(x, grid, mode, padding, align_corners=False)


def smaller(x: Tensor) -> Tensor:
    return f.interpolate(x, (12, 20), mode="bilinear")


def index_of_max(x: Tensor) -> Tensor:
    return f.max_pool2d(x, 2, return_indices=True)[1].float()


def unpool(x: Tensor) -> Tensor:
    return f.max_unpool2d(*f.max_pool2d(x, 2, return_indices=True), [2, 2])


def upsample_pooled(x: Tensor) -> Tensor:
    return f.interpolate(f.max_pool2d(x, 2, 2), scale_factor=2)


def put(x: Tensor) -> Tensor:
    places = (torch.tensor([0]), torch.tensor([2]))
    return torch.index_put(x, places, torch.tensor(1.5))


def fold(x: Tensor) -> Tensor:
    return f.fold(f.unfold(x, 2, stride=2), (24, 40), 2, stride=2)


def conv1d(x: Tensor) -> Tensor:
    return f.conv1d(x.flatten(2), KERNEL, groups=4)


SAME_SIZE = nn.MaxPool2d(3, 1, 1)
DILATED = nn.MaxPool2d(3, 1, 1, dilation=2)
REFLECT = nn.ReflectionPad2d(1)
CIRCULAR = Example("circular-padding", nn.CircularPad2d(1), REFLECT)
DIVISOR = Example("divisor-override", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2))
ANTIALIAS = Example(
    "antialias",
    lambda x: f.interpolate(x, (12, 20), mode="bilinear", antialias=True),
    smaller,
)
NEAREST_BY_QUOTIENT = (
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=0.6, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=1.7, mode="nearest"),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x[:, :, :20], (46, 92), mode="nearest"),
        lambda x: f.interpolate(x[:, :, :20], (22, 44), mode="nearest"),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.2, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=3, mode="nearest"),
    ),
)

EXAMPLES: tuple[Example, ...] = (DIVISOR,)
"""Of the rules in :mod:`.onnx_file`."""
