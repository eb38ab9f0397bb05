"""Examples of what litert-torch refuses, or LiteRT gets wrong."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

EXAMPLES: tuple[Example, ...] = (
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x, size=(10, 20), mode="bilinear", antialias=True),
        lambda x: f.interpolate(x, size=(10, 20), mode="bilinear"),
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
