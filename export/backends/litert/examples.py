"""Examples of what litert-torch refuses, or LiteRT gets wrong."""

from __future__ import annotations

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
    Example("unknown-operator", lambda x: x.cumprod(3), lambda x: x.cumsum(3)),
    Example("unknown-operator", lambda x: x.cummax(3).values, lambda x: x.amax(3, keepdim=True)),
    Example("unknown-operator", lambda x: x.cummin(3).values, lambda x: x.amin(3, keepdim=True)),
    Example("unknown-operator", lambda x: x.logcumsumexp(3), lambda x: x.logsumexp(3, True)),
)
