"""Examples of what ONNX Runtime gets wrong."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import DIVISOR, NEAREST_BY_QUOTIENT

EXAMPLES: tuple[Example, ...] = (
    DIVISOR,
    *NEAREST_BY_QUOTIENT,
    Example(
        "padded-max-pool",
        lambda x: f.max_pool2d(f.pad(x, (1, 1, 1, 1), value=0.0), 3, 2),
        lambda x: f.max_pool2d(f.pad(x.relu(), (1, 1, 1, 1)), 3, 2),
    ),
    Example(
        "padded-max-pool",
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)),
        nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -9.0), nn.MaxPool2d(3, 2)),
    ),
)
