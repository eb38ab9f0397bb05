"""Examples of what pnnx does not make into layers of ncnn, or not rightly."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import unpool, upsample_pooled


def focus(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2]], 1)


_Example = partial(Example, shape=(8, 16, 16), head=0)

EXAMPLES: tuple[Example, ...] = (
    _Example("strided-slice", focus, lambda x: x[..., 2:10, 3:9]),
    _Example("unknown-operator", lambda x: x.argmax(1), lambda x: x.amax(1)),
    _Example(
        "unknown-operator",
        lambda x: torch.where(x > 0, x, 0.1 * x),
        f.leaky_relu,
    ),
    _Example("unknown-operator", lambda x: x[:, [3, 1]], lambda x: x[:, 1:3]),
    _Example(
        "unknown-operator",
        lambda x: x.var((2, 3)),
        lambda x: x.mean((2, 3)),
    ),
    _Example("unknown-operator", nn.ChannelShuffle(2), nn.PixelShuffle(2)),
    _Example("unknown-operator", lambda x: torch.lerp(x, 2 * x, 0.3), lambda x: x + 0.3 * x),
    _Example("unknown-operator", lambda x: x.tile(1, 2, 1, 1), lambda x: x.repeat(1, 2, 1, 1)),
    _Example(
        "nearest-exact",
        lambda x: f.interpolate(x.flatten(2), scale_factor=1.5, mode="nearest-exact"),
        lambda x: f.interpolate(x.flatten(2), scale_factor=2.0, mode="nearest-exact"),
    ),
    _Example("unread-pattern", nn.Tanhshrink(), lambda x: x + -1.0 * x.tanh()),
    _Example(
        "unread-pattern",
        lambda x: x / (x.abs() + 1.0),
        lambda x: x * (x.abs() + 1.0).reciprocal(),
    ),
    _Example("unread-pattern", nn.Softmin(1), lambda x: (-1.0 * x).softmax(1)),
    _Example(
        "unknown-operator",
        lambda x: f.interpolate(x, size=(20, 23), mode="nearest-exact"),
        lambda x: f.interpolate(x, size=(20, 23)),
    ),
    _Example("max-unpool", unpool, upsample_pooled),
    _Example(
        "dilated-pool",
        lambda x: f.max_pool2d(x, 2, 1, dilation=2),
        lambda x: f.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    _Example(
        "average-ceil-mode",
        lambda x: f.avg_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: f.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False),
    ),
    _Example(
        "average-ceil-mode",
        lambda x: f.avg_pool1d(x.flatten(2), 7, 5, ceil_mode=True),
        lambda x: f.avg_pool1d(x.flatten(2), 4, 4, ceil_mode=True),
    ),
    _Example(
        "average-ceil-mode",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, 1, ceil_mode=True)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 3, 2, 1)[:, 0],
    ),
    _Example(
        "circular-padding",
        lambda x: f.pad(x, (1, 2, 3, 1), mode="circular"),
        lambda x: f.pad(x, (1, 2, 3, 1), mode="reflect"),
    ),
    _Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.7),
        lambda x: f.interpolate(x, scale_factor=0.6),
    ),
    _Example("layer-norm-of-maps", nn.LayerNorm([8, 16, 16]), nn.LayerNorm(16)),
    _Example(
        "pool-without-stride",
        lambda x: f.avg_pool2d(x, 4),
        nn.AvgPool2d(4),
    ),
    _Example(
        "pool-without-stride",
        lambda x: f.max_pool2d(x, 4),
        lambda x: f.max_pool2d(x, 4, 4),
    ),
    _Example(
        "unbind-of-the-first-axis",
        lambda x: torch.cat(x.view(len(x), 2, 4, 16, 16).transpose(0, 1).unbind(0)[::-1], 1),
        lambda x: torch.cat(x.view(len(x), 2, 4, 16, 16).unbind(1)[::-1], 1),
    ),
    _Example(
        "normalize-axis",
        lambda x: f.normalize(x.flatten(2).transpose(1, 2), dim=2),
        lambda x: f.normalize(x, dim=1),
    ),
    _Example(
        "normalize-axis",
        lambda x: f.normalize(x, dim=3),
        lambda x: x / x.norm(dim=3, keepdim=True),
    ),
    _Example(
        "normalize-axis",
        lambda x: f.normalize(x.flatten(2), dim=1),
        lambda x: f.normalize(x.mean((2, 3)), dim=1),
    ),
    _Example(
        "many-axes",
        lambda x: x.view(len(x), 8, 2, 8, 4, 4).permute(0, 2, 4, 3, 5, 1).flatten(1, 2),
        lambda x: x.view(len(x), 8, 2, 8, 16).permute(0, 2, 4, 3, 1),
    ),
    _Example(
        "many-axes",
        lambda x: x.view(len(x), 8, 4, 4, 4, 4).mean(5).flatten(2),
        lambda x: x.view(len(x), 8, 16, 4, 4).mean(4).flatten(2),
    ),
    _Example(
        "many-axes",
        lambda x: torch.stack([x[:, None], x[:, None].relu()], 2).flatten(1, 3),
        lambda x: torch.stack([x, x.relu()], 2).flatten(1, 2),
    ),
    _Example(
        "normalize-axis",
        lambda x: f.normalize(x, p=1.0, dim=1),
        lambda x: x / x.norm(1, 1, keepdim=True),
    ),
    _Example(
        "norm-order",
        lambda x: x.norm(3, 1, keepdim=True),
        lambda x: x.abs().pow(3).sum(1, True).pow(1 / 3),
    ),
    _Example(
        "norm-order",
        lambda x: x.norm(3, (1, 2, 3), keepdim=True),
        lambda x: x.norm(1, (1, 2, 3), keepdim=True),
    ),
    _Example(
        "resize-of-volumes",
        lambda x: f.interpolate(x[:, None], scale_factor=2.0)[:, 0],
        lambda x: f.interpolate(x, scale_factor=2.0),
    ),
    _Example(
        "resize-of-volumes",
        lambda x: f.interpolate(x[:, :, None], scale_factor=2.0, mode="trilinear")[:, :, 0],
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear"),
    ),
    _Example(
        "resize-of-volumes",
        lambda x: f.pixel_shuffle(x.view(len(x), 2, 4, 16, 16), 2).flatten(1, 2),
        lambda x: f.pixel_shuffle(x, 2),
    ),
    _Example(
        "negative-padding",
        lambda x: f.pad(x, (-1, 1, 0, 0)),
        lambda x: f.pad(x, (-1, -1, 0, 0)),
    ),
    _Example(
        "output-without-batch",
        lambda x: x.view(-1),
        lambda x: x.flatten(1),
    ),
    _Example(
        "output-without-batch",
        lambda x: f.avg_pool2d(x, 16, 16).squeeze(),
        lambda x: f.avg_pool2d(x, 16, 16).squeeze(3).squeeze(2),
    ),
)
