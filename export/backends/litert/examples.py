"""Examples of what litert-torch refuses, or LiteRT gets wrong."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

EXAMPLES: tuple[Example, ...] = (
    Example("unknown-operator", nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(4)),
    Example("unknown-operator", lambda x: x.flatten(1).topk(3)[0], lambda x: x.flatten(1).amax(1)),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x, size=(10, 20), mode="bilinear", antialias=True),
        lambda x: f.interpolate(x, size=(10, 20), mode="bilinear"),
    ),
    Example(
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=4),
    ),
    Example(
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 4, 2, 1, output_padding=1),
        nn.ConvTranspose2d(8, 8, 3, 2, output_padding=1),
    ),
    Example(
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 3, 2, dilation=2),
        nn.ConvTranspose2d(8, 8, 3, 1, 2, dilation=2),
    ),
    Example(
        "transposed-padding",
        nn.ConvTranspose2d(8, 8, 6, 2, 1),
        nn.ConvTranspose2d(8, 8, (4, 3), (2, 1), 1),
    ),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear", align_corners=True),
    ),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3),
        lambda x: f.interpolate(x, scale_factor=1.5),
    ),
    Example(
        "pool-indices",
        lambda x: f.max_pool2d(x, 2, return_indices=True)[1].float(),
        lambda x: f.max_pool2d(x, 2),
    ),
    Example("int8-exponential", f.elu, f.silu, precision="int8"),
    Example("int8-exponential", f.mish, f.hardswish, precision="int8"),
    Example("int8-exponential", f.softplus, f.relu, precision="int8"),
    Example(
        "int8-uncounted-padding",
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        precision="int8",
    ),
)
