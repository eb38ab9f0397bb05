"""Examples of what OpenCV 5 refuses or gets wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import REFLECT, index_of_max, sample
from .examples import BOTH, pooled

SAME = torch.arange(64.0).sin().view(8, 8, 1, 1) / 3  # of a 1x1 convolution
GRU = nn.GRU(8, 8, batch_first=True).eval()


def gru(x: Tensor) -> Tensor:
    return GRU(x.flatten(2).transpose(1, 2)[:, ::40])[0]


def unpool(x: Tensor) -> Tensor:
    return f.max_unpool2d(*f.max_pool2d(x, 2, return_indices=True), [2, 2])


EXAMPLES: tuple[Example, ...] = (
    *BOTH,
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x.flatten(2), scale_factor=2, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=2, mode="bicubic"),
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x[:, None], scale_factor=2, mode="nearest")[:, 0],
        lambda x: f.interpolate(x, scale_factor=2, mode="nearest-exact"),
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x[:, None], scale_factor=2, mode="trilinear")[:, 0],
        lambda x: f.interpolate(x.flatten(2), scale_factor=2, mode="linear"),
    ),
    Example("unknown-operator", gru, lambda x: x.flip(3)),
    Example("unknown-operator", unpool, index_of_max),
    Example(
        "unknown-operator",
        lambda x: torch.stack([x[:, i, :, :24].sum(0).trace() for i in range(2)])[None],
        lambda x: x[:, [2, 1]],
    ),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bicubic"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="bicubic"),
    ),
    Example(
        "antialias",
        lambda x: f.interpolate(x, (12, 20), mode="bicubic", antialias=True),
        lambda x: f.interpolate(x, (48, 80), mode="bicubic", antialias=True),
    ),
    Example(
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
    ),
    Example(
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(4, 2, 1, ceil_mode=True),
    ),
    Example(
        "average-ceil-mode",
        lambda x: f.avg_pool1d(x.flatten(2), 7, 5, ceil_mode=True),
        lambda x: f.avg_pool1d(x.flatten(2), 4, 4, ceil_mode=True),
    ),
    Example(
        "average-ceil-mode",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, ceil_mode=True)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 2, 2, ceil_mode=True)[:, 0],
    ),
    Example(
        "norm-behind-reshape", lambda x: f.group_norm(x.flatten(2), 2), lambda x: f.group_norm(x, 2)
    ),
    Example(
        "norm-behind-reshape",
        lambda x: f.group_norm(x.reshape(-1, 16, 12, 40), 2).relu(),
        lambda x: f.group_norm(x.flatten(2), 2).view(x.shape),
    ),
    Example(
        "norm-of-vector",
        lambda x: f.group_norm(x.mean((2, 3)), 2),
        lambda x: f.group_norm(pooled(x), 2).flatten(1),
    ),
    Example(
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "reflection"),
    ),
    Example("padded-1x1", nn.Conv2d(8, 8, 1, padding=1), nn.Conv2d(8, 8, 3, padding=2)),
    Example(
        "padded-1x1",
        nn.Conv2d(8, 8, 1, padding=(0, 1), groups=2),
        nn.Conv2d(8, 8, 1, 2),
    ),
    Example(
        "padded-1x1",
        lambda x: f.conv2d(f.pad(x, (1, 1)), SAME),
        lambda x: f.conv2d(f.pad(x, (1, 1), value=0.5), SAME),
    ),
    Example("padded-1x1", nn.ZeroPad2d(1), REFLECT),
    Example("negative-index", lambda x: x[:, [-1, 0]], lambda x: x[:, [7, 0]]),
)
