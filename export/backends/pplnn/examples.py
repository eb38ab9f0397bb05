"""Examples of what PPLNN cannot do, or not rightly."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import unpool, upsample_pooled

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
        "squeeze-of-all",
        lambda x: f.avg_pool2d(x, 12).squeeze(),
        lambda x: f.avg_pool2d(x, 12).squeeze(3).squeeze(2),
    ),
    _Example("max-unpool", unpool, upsample_pooled),
    _Example(
        "dilated-pool",
        lambda x: f.max_pool2d(x, 2, 1, dilation=2),
        lambda x: f.max_pool2d(x, 3, 2, 1),
    ),
    _Example(
        "average-ceil-mode",
        lambda x: f.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: f.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    ),
    _Example(
        "transposed-groups",
        nn.ConvTranspose2d(8, 8, 2, 2, groups=4),
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
    ),
    _Example(
        "transposed-groups",
        nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(16, 8, 3, 2, 1),
        shape=(16, 7, 12),
    ),
    _Example(
        "uneven-same-padding",
        nn.Conv2d(8, 4, 2, padding="same"),
        nn.Conv2d(8, 4, 3, padding="same"),
    ),
    _Example(
        "rows-and-volumes",
        lambda x: f.max_pool1d(x.flatten(2), 2),
        lambda x: f.max_pool2d(x.flatten(2).unsqueeze(2), (1, 2)),
    ),
    _Example(
        "rows-and-volumes",
        lambda x: f.conv3d(x.unsqueeze(0), x.new_ones(4, 1, 3, 3, 3)),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic"),
    ),
    _Example(
        "rows-and-volumes",
        lambda x: x.prod(1),
        lambda x: f.pad(x, (1, 2, 0, 0)).amax(1),
    ),
    _Example(
        "divisor-override",
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(2),
    ),
)
