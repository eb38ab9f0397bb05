"""Examples of what MNN refuses or gets wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import (
    ANTIALIAS,
    CIRCULAR,
    DILATED,
    DIVISOR,
    KERNEL,
    SAME_SIZE,
    conv1d,
    fold,
    put,
    sample,
    smaller,
)

LSTM = nn.LSTM(8, 8, batch_first=True).eval()
GRU = nn.GRU(8, 8, batch_first=True).eval()


def lstm(x: Tensor) -> Tensor:
    return LSTM(x.flatten(2).transpose(1, 2)[:, ::40])[0]


def gru(x: Tensor) -> Tensor:
    return GRU(x.flatten(2).transpose(1, 2)[:, ::40])[0]


EXAMPLES: tuple[Example, ...] = (
    CIRCULAR,
    DIVISOR,
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.7, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=0.6, mode="nearest"),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.1, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="nearest"),
    ),
    ANTIALIAS,
    Example("unknown-operator", f.mish, lambda x: x * f.softplus(x).tanh()),
    Example("unknown-operator", nn.Mish(inplace=True), nn.SiLU(inplace=True)),
    Example("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    Example("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    Example("unknown-operator", torch.nan_to_num, torch.atan),
    Example("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    Example("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    Example(
        "less-than",
        lambda x: (x < -0.1).float(),
        lambda x: ((-x > 0.1) | (x < 0.4) & (x <= -0.2)).float(),
    ),
    Example(
        "less-than",
        lambda x: torch.where(x < x.roll(1, 1), x, 0.0),
        lambda x: torch.where(x.roll(1, 1) > x, x, 0.0),
    ),
    Example("wrong-operator", lambda x: torch.fmod(x * 5, 0.7), lambda x: x.roll(3, 2)),
    Example("wrong-operator", put, lambda x: x.roll(3, 2)),
    Example("equal-floats", lambda x: (x.round() == 0).float(), lambda x: (x < 0).float()),
    Example(
        "equal-floats",
        lambda x: (x.round() != 0).float(),
        lambda x: (x.argmax(1, True) == 2).float(),
    ),
    Example("norm-over-all", f.normalize, lambda x: (x * x).sum(1, True).sqrt()),
    Example(
        "norm-over-all",
        lambda x: x.flatten(2).norm(dim=2),
        lambda x: f.normalize(x.mean((2, 3)), dim=1),
    ),
    Example("norm-over-all", lambda x: x.logsumexp(1, True), lambda x: x.exp().sum(1, True).log()),
    Example(
        "norm-over-all", lambda x: f.cosine_similarity(x[:, :4], x[:, 4:])[:, None], torch.atan
    ),
    Example(
        "bicubic-enlarged",
        lambda x: f.interpolate(x, (30, 20), mode="bicubic"),
        lambda x: f.interpolate(x, (12, 20), mode="bicubic"),
    ),
    Example(
        "bicubic-enlarged",
        lambda x: f.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda x: f.interpolate(x, (48, 80), mode="bicubic", align_corners=True),
    ),
    Example(
        "antialias", lambda x: f.interpolate(x, (12, 20), mode="bicubic", antialias=True), smaller
    ),
    Example("dilated-pool", DILATED, SAME_SIZE),
    Example(
        "padded-average-3d",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, 1)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 2)[:, 0],
    ),
    Example("negative-index", lambda x: x[:, [-1, 0]], lambda x: x[:, [7, 0]]),
    Example("negative-index", lambda x: x[..., [-1, 2]], lambda x: x[..., -5:]),
    Example(
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "zeros"),
    ),
    Example(
        "grid-sample-mode",
        lambda x: sample(x, "bilinear", "reflection"),
        lambda x: sample(x, "bilinear", "border"),
    ),
    Example("output-of-conv1d", conv1d, lambda x: conv1d(x).softmax(2)),
    Example("output-of-conv1d", lambda x: conv1d(x).relu(), lambda x: conv1d(x).softmax(2)),
    Example(
        "output-of-conv1d",
        lambda x: f.conv_transpose1d(x[:, :4].flatten(2), KERNEL),
        lambda x: conv1d(x).softmax(2),
    ),
    Example(
        "trilinear",
        lambda x: f.interpolate(x[:, None], scale_factor=3, mode="trilinear")[:, 0],
        lambda x: f.interpolate(x[:, None], scale_factor=3, mode="nearest")[:, 0],
    ),
    Example("lstm", lstm, gru),
    Example(
        "dilated-conv3d",
        nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv3d(2, 4, 3, 1, 2, 2), nn.Flatten(1, 2)),
        nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv3d(2, 4, 3, 1, 1), nn.Flatten(1, 2)),
    ),
    Example(
        "transposed-conv3d",
        nn.Sequential(nn.Unflatten(1, (2, 4)), nn.ConvTranspose3d(2, 4, 2, 2), nn.Flatten(1, 2)),
        nn.Sequential(
            nn.Unflatten(1, (2, 4)),
            nn.Upsample(scale_factor=2.0),
            nn.Conv3d(2, 4, 1),
            nn.Flatten(1, 2),
        ),
    ),
    Example("negative-padding", lambda x: f.pad(x, (-1, 1, 0, 0)), lambda x: x[..., 1:-1]),
)
