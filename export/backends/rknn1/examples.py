"""Examples of what RKNN-Toolkit 1.7 does not load, or not rightly."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

_Example = partial(Example, shape=(4, 12, 12), head=0)

EXAMPLES: tuple[Example, ...] = (
    _Example("unsupported-operator", f.softplus, f.mish),
    _Example(
        "unsupported-operator",
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic"),
        lambda x: f.interpolate(x, scale_factor=2.0),
    ),
    _Example(
        "unsupported-operator",
        lambda x: torch.where(x > 0, x, -x),
        f.leaky_relu,
    ),
    _Example(
        "unlisted-operator",
        torch.sin,
        lambda x: f.silu(x.clone(), inplace=True),
    ),
    _Example(
        "pytorch-route-alone",
        lambda x: f.max_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: f.max_pool2d(x, 2, ceil_mode=True),
    ),
    _Example(
        "pytorch-route-alone",
        lambda x: f.max_pool2d(x, 2, dilation=2),
        lambda x: f.max_pool2d(x, 3, 1, 1),
    ),
    _Example(
        "pytorch-route-alone",
        lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: f.pad(x, (1, 1, 1, 1)),
    ),
    _Example("pytorch-route-alone", lambda x: f.pixel_shuffle(x, 2), f.relu6),
    _Example(
        "uneven-dilation",
        nn.Conv2d(4, 4, 3, dilation=(2, 3)),
        nn.Conv2d(4, 4, 3, dilation=(1, 3)),
    ),
    _Example(
        "dilated-depthwise-stride",
        nn.Conv2d(4, 4, 3, dilation=2, stride=2, groups=4),
        nn.Conv2d(4, 4, 3, dilation=2, groups=4),
    ),
    _Example(
        "padding-value",
        lambda x: f.pad(x, (0, 1, 0, 1), value=1.0),
        lambda x: f.pad(x, (0, 1, 0, 1)),
    ),
    _Example(
        "padding-mode",
        lambda x: f.pad(x, (1, 1, 1, 1), mode="replicate"),
        lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
    ),
    _Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3),
        lambda x: f.interpolate(x, scale_factor=1.5),
    ),
    _Example(
        "bilinear-pixel-centres",
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
    ),
    _Example(
        "softmax-1d",
        lambda x: x.flatten().softmax(0),
        lambda x: x.flatten(1).softmax(1),
    ),
    _Example(
        "division-broadcast",
        lambda x: x / x.mean(1, keepdim=True),
        lambda x: x / x.exp() / 2.0,
    ),
    _Example(
        "joined-outputs",
        lambda x: torch.cat((x.relu(), x), 1),
        lambda x: torch.cat((x.relu(), x), 1).relu(),
    ),
    _Example(
        "divisor-override",
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(2),
    ),
)
