"""Examples of what nncase fails on or computes wrongly of a TFLite file."""

from __future__ import annotations

from functools import partial

from torch import nn

from ...lint.examples import Example

_Example = partial(Example, shape=(8, 16, 20), head=3, precision="int8")


EXAMPLES: tuple[Example, ...] = (
    _Example("unread-operator", nn.GELU("tanh"), nn.Hardswish()),
    _Example(
        "transposed-convolution",
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1),
        nn.ConvTranspose2d(8, 8, 3, 1, 1),
    ),
    _Example(
        "groups", nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    ),
    _Example("fractional-size", nn.Upsample(scale_factor=1.3), nn.Upsample(scale_factor=1.5)),
)
