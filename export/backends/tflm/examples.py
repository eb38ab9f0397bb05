"""Examples of what TensorFlow Lite Micro lacks, and of networks too large for a board."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example

BOARDS = ("rp2040", "nrf52840")


def _attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return f.scaled_dot_product_attention(tokens, tokens, tokens)


EXAMPLES: tuple[Example, ...] = (
    Example("missing-operator", f.elu, torch.relu),
    Example("missing-operator", f.mish, f.silu),
    Example("missing-operator", f.gelu, torch.sigmoid),
    Example("missing-operator", torch.atan, torch.sin),
    Example("missing-operator", torch.sign, torch.abs),
    Example("missing-operator", torch.trunc, torch.floor),
    Example("missing-operator", lambda x: torch.fmod(x, 2.0), lambda x: x * 0.5),
    Example("missing-operator", lambda x: x.prod(1, True), lambda x: x.sum(1, True)),
    Example(
        "missing-operator",
        lambda x: (x > 0).all(1, True).float(),
        lambda x: x.amax(1, True),
    ),
    Example(
        "missing-operator",
        lambda x: (x > 0).any(1, True).float(),
        lambda x: x.mean(1, True),
    ),
    Example(
        "missing-operator",
        lambda x: x.gather(1, torch.zeros(1, 1, 24, 40, dtype=torch.long)),
        lambda x: x[:, :1],
    ),
    Example(
        "choice",
        lambda x: torch.where(x > 0, x, x * 0.5),
        lambda x: x.masked_fill(x < 0, -0.3),
    ),
    Example(
        "missing-operator",
        lambda x: f.grid_sample(x, torch.zeros(1, 12, 20, 2), align_corners=False),
        nn.AvgPool2d(2),
    ),
    Example("missing-operator", nn.LocalResponseNorm(3), nn.BatchNorm2d(8)),
    Example(
        "missing-operator",
        lambda x: f.unfold(x, 2, stride=2),
        lambda x: f.pixel_unshuffle(x, 2).flatten(2),
    ),
    Example("clamp-to-one", lambda x: x.clamp(0, 1), lambda x: x.clamp(-0.5, 0.5)),
    Example("clamp-to-one", nn.Hardtanh(0, 1), nn.Hardtanh(0, 6)),
    Example("power", lambda x: x.pow(3), lambda x: x * x * x),
    Example("power", lambda x: (x.relu() + 0.1).pow(1.5), torch.square),
    Example(
        "six-axes",
        lambda x: x.view(1, 8, 12, 2, 20, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 32, 12, 20),
        nn.PixelUnshuffle(2),
    ),
    Example(
        "circular-padding",
        lambda x: f.pad(x, (1, 1, 1, 1), mode="circular"),
        lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
    ),
    Example(
        "int8-crash",
        lambda x: x.logsumexp(1, True),
        lambda x: x.amax(1, True),
        precision="int8",
    ),
    Example(
        "int8-crash",
        _attention,
        lambda x: x.flatten(2).transpose(1, 2),
        precision="int8",
    ),
    Example(
        "ram",
        lambda x: f.interpolate(x, scale_factor=6),
        lambda x: f.interpolate(x, scale_factor=2),
        chips=BOARDS,
    ),
    Example(
        "little-ram",
        lambda x: f.interpolate(x, size=(120, 160)),
        lambda x: f.interpolate(x, scale_factor=2),
        chips=BOARDS,
    ),
    Example(
        "flash",
        nn.Sequential(nn.AvgPool2d((24, 40)), nn.Conv2d(8, 1200, 1), nn.Conv2d(1200, 1800, 1)),
        nn.Sequential(nn.AvgPool2d((24, 40)), nn.Conv2d(8, 120, 1), nn.Conv2d(120, 180, 1)),
        chips=BOARDS,
    ),
)
