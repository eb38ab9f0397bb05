"""Examples of what OpenVINO refuses or gets wrong."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import ANTIALIAS, CIRCULAR, DIVISOR, NEAREST_BY_QUOTIENT, smaller

EXAMPLES: tuple[Example, ...] = (
    CIRCULAR,
    DIVISOR,
    *NEAREST_BY_QUOTIENT,
    ANTIALIAS,
    Example(
        "antialias", lambda x: f.interpolate(x, (48, 80), mode="bicubic", antialias=True), smaller
    ),
    Example("average-ceil-mode", nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1)),
    Example(
        "average-ceil-mode",
        nn.AvgPool2d(4, 3, 1, ceil_mode=True),
        nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
    ),
    Example(
        "average-ceil-mode",
        lambda x: f.avg_pool1d(x.flatten(2), 3, 2, 1, ceil_mode=True),
        lambda x: f.avg_pool1d(x.flatten(2), 7, 5, ceil_mode=True),
    ),
    Example(
        "average-ceil-mode",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, (1, 0, 0), ceil_mode=True)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 3, 2, ceil_mode=True)[:, 0],
    ),
    Example(
        "pool-across-activation",
        nn.Sequential(nn.MaxPool2d(2), nn.GELU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
    ),
    Example(
        "pool-across-activation",
        nn.Sequential(nn.MaxPool2d(2), nn.SiLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
    ),
    Example(
        "pool-across-activation",
        nn.Sequential(nn.MaxPool2d(2), nn.Mish(), nn.MaxPool2d(2)),
        nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
    ),
    Example(
        "pool-across-activation",
        nn.Sequential(nn.MaxPool2d(2), nn.Hardswish(), nn.MaxPool2d(2)),
        nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
    ),
    Example(
        "pool-across-activation", nn.Sequential(nn.MaxPool2d(2), nn.SiLU(), nn.MaxPool2d(2)), f.silu
    ),
)
