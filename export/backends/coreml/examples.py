"""Examples of what coremltools refuses or gets wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def half(x: Tensor) -> Tensor:
    return f.interpolate(x, (12, 20), mode="bilinear")


EXAMPLES: tuple[Example, ...] = (
    Example("unknown-operator", nn.ChannelShuffle(2), shuffle),
    Example("unknown-operator", lambda x: f.pixel_unshuffle(x, 2), lambda x: f.pixel_shuffle(x, 2)),
    Example("unknown-operator", lambda x: f.interpolate(x, (30, 50), mode="bicubic"), half),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x, (30, 50), mode="nearest-exact"),
        lambda x: f.interpolate(x, (30, 50)),
    ),
    Example(
        "unknown-operator", lambda x: f.interpolate(x[None], scale_factor=2)[0], lambda x: x[None]
    ),
    Example("unknown-operator", f.logsigmoid, f.softplus),
    Example("unknown-operator", f.celu, f.elu),
    Example("unknown-operator", f.softshrink, f.softsign),
    Example("unknown-operator", f.hardshrink, f.hardsigmoid),
    Example("unknown-operator", torch.trunc, torch.floor),
    Example("unknown-operator", lambda x: torch.fmod(x, 0.7), lambda x: torch.remainder(x, 0.7)),
    Example("unknown-operator", lambda x: torch.lerp(x, -x, 0.3), lambda x: x - 0.3 * x),
    Example("unknown-operator", lambda x: torch.addcmul(x, x, x), lambda x: x + x * x),
    Example("unknown-operator", lambda x: x.prod(1), lambda x: x.sum(1)),
    Example("unknown-operator", lambda x: torch.rot90(x, 1, (2, 3)), lambda x: x.flip(3)),
    Example(
        "unknown-operator",
        lambda x: x.index_add(1, torch.tensor([0, 1]), x[:, :2]),
        lambda x: x[:, [3, 1]],
    ),
    Example(
        "unknown-operator",
        lambda x: torch.cdist(x.flatten(2), x.flatten(2)),
        lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    ),
    Example(
        "unknown-operator",
        lambda x: f.max_pool2d(x, 2, return_indices=True)[1].float(),
        lambda x: f.max_pool2d(x, 2),
    ),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="bilinear"),
    ),
    Example("dilated-pool", nn.MaxPool2d(3, 1, 1, dilation=2), nn.MaxPool2d(3, 1, 1)),
    Example("divisor-override", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2)),
    Example(
        "circular-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
    ),
    Example("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    Example(
        "antialias", lambda x: f.interpolate(x, (12, 20), mode="bilinear", antialias=True), half
    ),
)
