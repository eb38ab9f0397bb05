"""Rules of OpenCV 4.x and 5.x: each fires where that version fails.

And not on its neighbour, which it computes rightly.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.opencv import rules as rules_of_4
from edgeark.export.backends.opencv import rules5 as rules_of_5
from support.engine_cases import (
    ANTIALIAS,
    CIRCULAR,
    DILATED,
    DIVISOR,
    KERNEL,
    REFLECT,
    SAME_SIZE,
    Case,
    conv1d,
    engine_fails,
    engine_is_right_on_neighbours,
    fold,
    index_of_max,
    resize,
    rows,
    rules_fire_alone,
    sample,
    scale,
    smaller,
)
from torch import Tensor, nn
from torch.nn import functional as f

VECTOR = torch.arange(40.0).cos()
SAME = torch.arange(64.0).sin().view(8, 8, 1, 1) / 3  # of a 1x1 convolution
GRU = nn.GRU(8, 8, batch_first=True).eval()


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3), True)


def index(x: Tensor) -> Tensor:
    return x.argmax(1, True)


def gru(x: Tensor) -> Tensor:
    return GRU(rows(x).transpose(1, 2)[:, ::40])[0]


def unpool(x: Tensor) -> Tensor:
    return f.max_unpool2d(*f.max_pool2d(x, 2, return_indices=True), 2)


class Squeezed(nn.Module):
    """A sum of a map and of a normalised convolution of its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(pooled(x)) + x


# A rule of both, a network where it fires, one where it does not
BOTH: list[Case] = [
    DIVISOR,
    ANTIALIAS,
    ("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    ("unknown-operator", lambda x: x.diagonal(0, 1, 2), lambda x: f.pixel_shuffle(x, 2)),
    ("unknown-operator", lambda x: (index(x) << 2).float(), lambda x: (index(x) * 4).float()),
    ("unknown-operator", lambda x: (index(x) >> 1).float(), lambda x: (index(x) * 4).float()),
    ("fractional-size", lambda x: scale(x, 1.3, "bilinear"), lambda x: scale(x, 1.5, "bilinear")),
    ("nearest-rounding", lambda x: scale(x, 1.3, "nearest"), lambda x: scale(x, 1.5, "nearest")),
    (
        "log-of-exponentials",
        lambda x: torch.logaddexp(x, x * 0.5),
        lambda x: torch.stack((x, x * 0.5)).logsumexp(0),
    ),
    (
        "log-of-exponentials",
        lambda x: (x.exp() + x.abs()).log(),
        lambda x: (x.exp() + 1).log(),
    ),
    ("log-of-exponentials", lambda x: (2 + x.exp()).log2(), lambda x: x.exp().log1p()),
    (
        "hardsigmoid-gate",
        lambda x: x * f.hardsigmoid(pooled(x)),
        lambda x: x * (f.relu6(pooled(x) + 3) / 6),
    ),
    ("hardsigmoid-gate", lambda x: f.hardsigmoid(x * 2) * x, lambda x: f.hardsigmoid(x) * x),
    ("hardsigmoid-gate", lambda x: f.hardsigmoid(x) * 2, f.hardsigmoid),
    (
        "integer-division",
        lambda x: (index(x) // 3).float(),
        lambda x: torch.div(index(x), 3, rounding_mode="floor").float(),
    ),
    ("integer-division", lambda x: ((x * 10).int() // 3).float(), lambda x: (x * 5) // 0.7),
    (
        "matrix-by-vector",
        lambda x: (x @ VECTOR)[..., None],
        lambda x: (x @ VECTOR[:, None])[..., 0],
    ),
]
OPENCV: list[Case] = [
    *BOTH,
    CIRCULAR,
    (
        "nearest-rounding",
        lambda x: resize(x[:, :, :20], (46, 92), "nearest"),
        lambda x: resize(x[:, :, :20], (12, 24), "nearest"),
    ),
    (
        "nearest-rounding",
        lambda x: scale(x[:, :, :20], 1.3, "nearest"),
        lambda x: scale(x[:, :, :20], 1.7, "nearest"),
    ),
    ("unknown-operator", lambda x: scale(x, 2, "nearest-exact"), smaller),
    ("unknown-operator", lambda x: scale(x, 2, "bicubic"), smaller),
    (
        "unknown-operator",
        lambda x: resize(x, (12, 20), "bicubic", antialias=True),
        smaller,
    ),
    ("unknown-operator", lambda x: scale(rows(x), 2, "nearest"), smaller),
    ("unknown-operator", lambda x: scale(rows(x), 2, "linear"), smaller),
    ("unknown-operator", lambda x: scale(x[:, None], 2, "nearest")[:, 0], smaller),
    ("unknown-operator", lambda x: scale(x[:, None], 2, "trilinear")[:, 0], smaller),
    ("unknown-operator", lambda x: f.conv_transpose1d(rows(x[:, :4]), KERNEL), conv1d),
    (
        "unknown-operator",
        lambda x: f.conv_transpose3d(x[:, None], torch.ones(1, 1, 2, 2, 2))[:, 0],
        conv1d,
    ),
    ("unknown-operator", index_of_max, SAME_SIZE),
    ("unknown-operator", lambda x: x.flip(3), lambda x: x.transpose(2, 3)),
    ("unknown-operator", lambda x: torch.rot90(x, 1, (2, 3)), lambda x: x.transpose(2, 3)),
    ("unknown-operator", lambda x: sample(x, "bilinear", "zeros"), smaller),
    (
        "unknown-operator",
        lambda x: x[:, [2, 1]],
        lambda x: x.index_select(1, torch.tensor([2, 1])),
    ),
    ("unknown-operator", torch.tril, torch.atan),
    ("unknown-operator", torch.triu, torch.atan),
    ("unknown-operator", lambda x: (~(x * 10).int()).float(), torch.atan),
    ("unknown-operator", lambda x: torch.logical_xor(x > 0, x > 0.2).float(), torch.atan),
    ("unknown-operator", lambda x: x.isinf().float() + x, torch.atan),
    ("unknown-operator", lambda x: x.isfinite().float() + x, torch.atan),
    ("unknown-operator", lambda x: ((x > -0.1) & (x < 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: ((x < -0.1) | (x > 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: ((x < -0.1) ^ (x > 0.4)).float(), lambda x: (x > 0).float()),
    ("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    ("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    ("unknown-operator", torch.nan_to_num, torch.atan),
    ("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    ("unknown-operator", lambda x: torch.lerp(x, -x, 0.3), lambda x: x - 0.6 * x),
    ("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    (
        "padding-of-rows",
        lambda x: f.pad(rows(x), (1, 2), mode="replicate"),
        lambda x: f.pad(rows(x), (1, 2)),
    ),
    ("padding-of-rows", lambda x: f.pad(rows(x), (1, 2), mode="reflect"), REFLECT),
    ("padding-before-1x1", lambda x: f.pad(x, (0, 1, 0, 1)), nn.ZeroPad2d(1)),
    ("dilated-pool", DILATED, SAME_SIZE),
    (
        "transposed-dilation",
        nn.ConvTranspose2d(8, 8, 3, 1, 1, dilation=2),
        nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
    ),
    ("uncounted-padding", nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.AvgPool2d(3, 1, 1)),
    ("uneven-pool", nn.AdaptiveAvgPool2d(7), nn.AdaptiveAvgPool2d(4)),
    (
        "reduction-of-all",
        lambda x: x - x.mean((1, 2, 3), True),
        lambda x: x - x.mean((2, 3), True).mean(1, True),
    ),
    ("reduction-of-all", lambda x: x.var((1, 2, 3), keepdim=True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.std((1, 2, 3), keepdim=True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.sum((1, 2, 3), True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.amax((1, 2, 3), True), nn.AvgPool2d(2)),
    ("reduction-of-all", lambda x: x.amin((1, 2, 3), True), nn.AvgPool2d(2)),
    (
        "reduction-of-all",
        lambda x: torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True),
        nn.AvgPool2d(2),
    ),
    (
        "two-new-axes",
        lambda x: x * x.mean((2, 3))[:, :, None, None],
        lambda x: x * x.mean((2, 3)).view(-1, 8, 1, 1),
    ),
    ("output-of-one-dimension", lambda x: x.flatten(1).argmax(1), lambda x: x.argmax(1)),
]
OPENCV5: list[Case] = [
    *BOTH,
    ("unknown-operator", lambda x: scale(rows(x), 2, "nearest"), lambda x: scale(x, 2, "bicubic")),
    (
        "unknown-operator",
        lambda x: scale(x[:, None], 2, "nearest")[:, 0],
        lambda x: scale(x, 2, "nearest-exact"),
    ),
    (
        "unknown-operator",
        lambda x: scale(x[:, None], 2, "trilinear")[:, 0],
        lambda x: scale(rows(x), 2, "linear"),
    ),
    ("unknown-operator", gru, lambda x: x.flip(3)),
    ("unknown-operator", unpool, index_of_max),
    (
        "unknown-operator",
        lambda x: torch.stack([x[:, i, :, :24].sum(0).trace() for i in range(2)])[None],
        lambda x: x[:, [2, 1]],
    ),
    ("fractional-size", lambda x: scale(x, 1.3, "bicubic"), lambda x: scale(x, 1.5, "bicubic")),
    (
        "antialias",
        lambda x: resize(x, (12, 20), "bicubic", antialias=True),
        lambda x: resize(x, (48, 80), "bicubic", antialias=True),
    ),
    (
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
    ),
    (
        "average-ceil-mode",
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(4, 2, 1, ceil_mode=True),
    ),
    (
        "average-ceil-mode",
        lambda x: f.avg_pool1d(rows(x), 7, 5, ceil_mode=True),
        lambda x: f.avg_pool1d(rows(x), 4, 4, ceil_mode=True),
    ),
    (
        "average-ceil-mode",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, ceil_mode=True)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 2, 2, ceil_mode=True)[:, 0],
    ),
    (
        "sum-behind-convolution",
        lambda x: x + f.conv2d(pooled(x), SAME),
        lambda x: x + f.conv2d(pooled(x), SAME).expand(-1, -1, 24, 40),
    ),
    (
        "sum-behind-convolution",
        nn.Sequential(Squeezed(), nn.ReLU()),
        lambda x: x + f.conv2d(pooled(x), SAME).relu(),
    ),
    (
        "sum-behind-convolution",
        lambda x: f.conv2d(x.mean(3, True), SAME) + f.conv2d(x.mean(2, True), SAME),
        lambda x: x * f.conv2d(pooled(x), SAME),
    ),
    ("norm-behind-reshape", lambda x: f.group_norm(rows(x), 2), lambda x: f.group_norm(x, 2)),
    (
        "norm-behind-reshape",
        lambda x: f.group_norm(x.reshape(-1, 16, 12, 40), 2).relu(),
        lambda x: f.group_norm(rows(x), 2).view(x.shape),
    ),
    (
        "norm-of-vector",
        lambda x: f.group_norm(x.mean((2, 3)), 2),
        lambda x: f.group_norm(pooled(x), 2).flatten(1),
    ),
    (
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "reflection"),
    ),
    ("large-tanh", lambda x: (x * 60).tanh(), torch.sigmoid),
    ("large-tanh", lambda x: f.gelu(x * 20, approximate="tanh"), lambda x: f.silu(x * 20)),
]
# They read what is not theirs: other values, or the end of the process
WILD: list[Case] = [
    ("padded-1x1", nn.Conv2d(8, 8, 1, padding=1), nn.Conv2d(8, 8, 3, padding=2)),
    ("padded-1x1", nn.Conv2d(8, 8, 1, padding=(0, 1), groups=2), nn.Conv2d(8, 8, 1, 2)),
    (
        "padded-1x1",
        lambda x: f.conv2d(f.pad(x, (1, 1)), SAME),
        lambda x: f.conv2d(f.pad(x, (1, 1), value=0.5), SAME),
    ),
    ("padded-1x1", nn.ZeroPad2d(1), REFLECT),
    ("negative-index", lambda x: x[:, [-1, 0]], lambda x: x[:, [7, 0]]),
]
GELU: Case = ("gelu", f.gelu, f.silu)

ENGINES = {
    "opencv": (rules_of_4.RULES, [*OPENCV, GELU]),
    "opencv5": (rules_of_5.RULES, [*OPENCV5, *WILD, GELU]),
}


@pytest.mark.parametrize("name", ENGINES)
def test_every_rule_fires_on_its_case_alone(name: str) -> None:
    rules_fire_alone(name, *ENGINES[name])


@pytest.mark.parametrize(("name", "cases"), [("opencv", OPENCV), ("opencv5", OPENCV5)])
def test_the_engine_fails_there(name: str, cases: list[Case], tmp_path: Path) -> None:
    engine_fails(name, cases, tmp_path)


@pytest.mark.parametrize("name", ENGINES)
def test_the_engine_is_right_on_the_neighbours(name: str, tmp_path: Path) -> None:
    cases = [*ENGINES[name][1], ("gelu", f.gelu, nn.GELU("tanh"))]
    engine_is_right_on_neighbours(name, cases, tmp_path)


@pytest.mark.parametrize("case", WILD)
def test_opencv5_reads_what_is_not_there(case: Case, tmp_path: Path) -> None:
    engine_fails("opencv5", [case], tmp_path)


@pytest.mark.parametrize("name", ENGINES)
def test_it_dies_of_gelu(name: str, tmp_path: Path) -> None:
    engine_fails(name, [GELU], tmp_path)
