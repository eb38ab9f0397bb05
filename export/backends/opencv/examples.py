"""Examples of what OpenCV 4 refuses or gets wrong."""

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
    REFLECT,
    SAME_SIZE,
    conv1d,
    fold,
    index_of_max,
    sample,
    smaller,
)

VECTOR = torch.arange(40.0).cos()


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3), True)


def index(x: Tensor) -> Tensor:
    return x.argmax(1, True)


# Of both versions
BOTH: tuple[Example, ...] = (
    DIVISOR,
    ANTIALIAS,
    Example("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    Example("unknown-operator", lambda x: x.diagonal(0, 1, 2), lambda x: f.pixel_shuffle(x, 2)),
    Example(
        "unknown-operator", lambda x: (index(x) << 2).float(), lambda x: (index(x) * 4).float()
    ),
    Example(
        "unknown-operator", lambda x: (index(x) >> 1).float(), lambda x: (index(x) * 4).float()
    ),
    Example(
        "fractional-size",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="bilinear"),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.3, mode="nearest"),
        lambda x: f.interpolate(x, scale_factor=1.5, mode="nearest"),
    ),
    Example(
        "log-of-exponentials",
        lambda x: torch.logaddexp(x, x * 0.5),
        lambda x: torch.stack((x, x * 0.5)).logsumexp(0),
    ),
    Example(
        "log-of-exponentials",
        lambda x: (x.exp() + x.abs()).log(),
        lambda x: (x.exp() + 1).log(),
    ),
    Example("log-of-exponentials", lambda x: (2 + x.exp()).log2(), lambda x: x.exp().log1p()),
    Example(
        "hardsigmoid-gate",
        lambda x: x * f.hardsigmoid(pooled(x)),
        lambda x: x * (f.relu6(pooled(x) + 3) / 6),
    ),
    Example("hardsigmoid-gate", lambda x: f.hardsigmoid(x * 2) * x, lambda x: f.hardsigmoid(x) * x),
    Example("hardsigmoid-gate", lambda x: f.hardsigmoid(x) * 2, f.hardsigmoid),
    Example(
        "integer-division",
        lambda x: (index(x) // 3).float(),
        lambda x: torch.div(index(x), 3, rounding_mode="floor").float(),
    ),
    Example("integer-division", lambda x: ((x * 10).int() // 3).float(), lambda x: (x * 5) // 0.7),
    Example(
        "matrix-by-vector",
        lambda x: (x @ VECTOR)[..., None],
        lambda x: (x @ VECTOR[:, None])[..., 0],
    ),
)


EXAMPLES: tuple[Example, ...] = (
    *BOTH,
    CIRCULAR,
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x[:, :, :20], (46, 92), mode="nearest"),
        lambda x: f.interpolate(x[:, :, :20], (12, 24), mode="nearest"),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x[:, :, :20], scale_factor=1.3, mode="nearest"),
        lambda x: f.interpolate(x[:, :, :20], scale_factor=1.7, mode="nearest"),
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x, scale_factor=2, mode="nearest-exact"),
        smaller,
    ),
    Example(
        "unknown-operator", lambda x: f.interpolate(x, scale_factor=2, mode="bicubic"), smaller
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x, (12, 20), mode="bicubic", antialias=True),
        smaller,
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x.flatten(2), scale_factor=2, mode="nearest"),
        smaller,
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x.flatten(2), scale_factor=2, mode="linear"),
        smaller,
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x[:, None], scale_factor=2, mode="nearest")[:, 0],
        smaller,
    ),
    Example(
        "unknown-operator",
        lambda x: f.interpolate(x[:, None], scale_factor=2, mode="trilinear")[:, 0],
        smaller,
    ),
    Example("unknown-operator", lambda x: f.conv_transpose1d(x[:, :4].flatten(2), KERNEL), conv1d),
    Example(
        "unknown-operator",
        lambda x: f.conv_transpose3d(x[:, None], torch.ones(1, 1, 2, 2, 2))[:, 0],
        conv1d,
    ),
    Example("unknown-operator", index_of_max, SAME_SIZE),
    Example("unknown-operator", lambda x: x.flip(3), lambda x: x.transpose(2, 3)),
    Example("unknown-operator", lambda x: torch.rot90(x, 1, (2, 3)), lambda x: x.transpose(2, 3)),
    Example("unknown-operator", lambda x: sample(x, "bilinear", "zeros"), smaller),
    Example(
        "unknown-operator",
        lambda x: x[:, [2, 1]],
        lambda x: x.index_select(1, torch.tensor([2, 1])),
    ),
    Example("unknown-operator", torch.tril, torch.atan),
    Example("unknown-operator", torch.triu, torch.atan),
    Example("unknown-operator", lambda x: (~(x * 10).int()).float(), torch.atan),
    Example("unknown-operator", lambda x: torch.logical_xor(x > 0, x > 0.2).float(), torch.atan),
    Example("unknown-operator", lambda x: x.isinf().float() + x, torch.atan),
    Example("unknown-operator", lambda x: x.isfinite().float() + x, torch.atan),
    Example(
        "unknown-operator", lambda x: ((x > -0.1) & (x < 0.4)).float(), lambda x: (x > 0).float()
    ),
    Example(
        "unknown-operator", lambda x: ((x < -0.1) | (x > 0.4)).float(), lambda x: (x > 0).float()
    ),
    Example(
        "unknown-operator", lambda x: ((x < -0.1) ^ (x > 0.4)).float(), lambda x: (x > 0).float()
    ),
    Example("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    Example("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    Example("unknown-operator", torch.nan_to_num, torch.atan),
    Example("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    Example("unknown-operator", lambda x: torch.lerp(x, -x, 0.3), lambda x: x - 0.6 * x),
    Example(
        "expanded-columns",
        lambda x: x.mean((1, 3), keepdim=True).expand(-1, 4, -1, -1),
        lambda x: x.mean((1, 3), keepdim=True).repeat(1, 4, 1, 1),
    ),
    Example(
        "expanded-columns",
        lambda x: x.mean(3, keepdim=True).repeat_interleave(2, 2),
        lambda x: x.mean(2, keepdim=True).repeat_interleave(2, 2),
    ),
    Example(
        "dilated-pool",
        lambda x: f.max_pool1d(x.flatten(2), 3, 2, 1, 2),
        lambda x: f.max_pool1d(x.flatten(2), 3, 2, 1),
    ),
    Example("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    Example(
        "padding-of-rows",
        lambda x: f.pad(x.flatten(2), (1, 2), mode="replicate"),
        lambda x: f.pad(x.flatten(2), (1, 2)),
    ),
    Example("padding-of-rows", lambda x: f.pad(x.flatten(2), (1, 2), mode="reflect"), REFLECT),
    Example("padding-before-1x1", lambda x: f.pad(x, (0, 1, 0, 1)), nn.ZeroPad2d(1)),
    Example("dilated-pool", DILATED, SAME_SIZE),
    Example(
        "transposed-dilation",
        nn.ConvTranspose2d(8, 8, 3, 1, 1, dilation=2),
        nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
    ),
    Example(
        "two-new-axes",
        lambda x: x * x.mean((2, 3))[:, :, None, None],
        lambda x: x * x.mean((2, 3)).view(-1, 8, 1, 1),
    ),
    Example("output-of-one-dimension", lambda x: x.flatten(1).argmax(1), lambda x: x.argmax(1)),
    Example("gelu", f.gelu, f.silu),
    Example("gelu", nn.GELU(), nn.GELU("tanh")),
)
