"""Examples of what PPLNN cannot do, or not rightly."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

_Example = partial(Example, shape=(8, 12, 12), head=0)

EXAMPLES: tuple[Example, ...] = (
    _Example("unknown-operator", f.elu, f.leaky_relu),
    _Example("unknown-operator", nn.GroupNorm(2, 8), nn.BatchNorm2d(8)),
    _Example(
        "unknown-operator",
        lambda x: x.log_softmax(1),
        lambda x: x.softmax(1),
    ),
    _Example("later-operator", nn.ChannelShuffle(2), nn.PixelShuffle(2)),
    _Example(
        "uneven-pool",
        lambda x: f.adaptive_avg_pool2d(x, 7),
        lambda x: f.adaptive_avg_pool2d(x, 6),
    ),
    _Example(
        "bicubic",
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic"),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
    ),
    _Example(
        "squeeze-of-all",
        lambda x: f.avg_pool2d(x, 12).squeeze(),
        lambda x: f.avg_pool2d(x, 12).squeeze(3).squeeze(2),
    ),
    _Example(
        "uneven-padding",
        lambda x: f.pad(x, (1, 2, 0, 0)),
        lambda x: f.pad(x, (1, 1, 2, 2)),
    ),
    _Example(
        "divisor-override",
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(2),
    ),
)
