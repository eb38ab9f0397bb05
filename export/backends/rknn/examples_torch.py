"""Examples of what the toolkit computes wrongly on the route by TorchScript alone."""

from __future__ import annotations

from functools import partial

from torch import nn

from ...lint.examples import Example

_Example = partial(Example, shape=(8, 32, 32), precision="int8")

EXAMPLES: tuple[Example, ...] = (
    _Example("global-max-pool", nn.MaxPool2d(46, 1, 23), nn.MaxPool2d(5, 1, 2)),
    _Example("global-max-pool", nn.MaxPool2d(47, 1, 23), nn.MaxPool2d(31, 1, 15)),
    _Example(
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2, ceil_mode=True),
        shape=(16, 32, 32),
    ),
    _Example(
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        shape=(48, 32, 32),
        good_shape=(24, 32, 32),
    ),
    _Example("uneven-pool", nn.AdaptiveAvgPool2d(5), nn.AdaptiveAvgPool2d(8)),
    _Example(
        "grouped-transposed",
        nn.ConvTranspose2d(8, 16, 4, 2, 1, groups=4),
        nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8),
    ),
    _Example(
        "uncounted-padding",
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1),
        cpu_ops=("AveragePool",),
    ),
)
