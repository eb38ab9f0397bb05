"""Examples of what the toolkit computes wrongly on the route by TorchScript alone."""

from __future__ import annotations

from functools import partial

from torch import nn

from ...lint.examples import Example

_Example = partial(Example, shape=(8, 32, 32), precision="int8")

EXAMPLES: tuple[Example, ...] = (
    _Example("global-max-pool", nn.MaxPool2d(46, 1, 23), nn.MaxPool2d(5, 1, 2)),
    _Example("global-max-pool", nn.MaxPool2d(47, 1, 23), nn.MaxPool2d(31, 1, 15)),
)
