"""What LiteRT's worker fixes: it is needed, and the answers agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.targets.base import Precision
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches, Function, Try, findings, try_each
from torch import Tensor, nn
from torch.nn import functional as f


def resize(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, **options)  # type: ignore[arg-type]


VOLUME = torch.arange(864.0).sin().view(8, 4, 3, 3, 3) / 10


def deep(x: Tensor) -> Tensor:
    return x.unflatten(2, (6, 4))


# A function of the worker that fixes it, and what it fixes
MENDS: list[tuple[str, Function]] = [
    ("_mended", lambda x: x.view(x.shape[0], -1)),
    ("_mended", lambda x: x.repeat(1, 2, 1, 1).repeat(1, 1, 2, 1)),
    ("_mended", lambda x: x.tile(2, 3)),
    ("_mended", lambda x: 1 - x),
    ("_mended", lambda x: torch.arange(1.0, 41.0) - x),
    ("_mended", lambda x: x.view(len(x), 2, -1, *x.shape[2:]).pow(2).flatten(1, 2)),
    ("_mended", lambda x: x.view(len(x), 2, -1, *x.shape[2:]).abs().pow(1.5).flatten(1, 2)),
    ("_mended", lambda x: (2.0 ** x.view(len(x), 2, -1, *x.shape[2:])).flatten(1, 2)),
    ("_mended", lambda x: x[:, torch.tensor([0, 2, 5, 7])].relu()),
    ("_mended", lambda x: x - torch.tensor([0.1, -0.2, 0.3, 0.4] * 2).view(1, 8, 1, 1)),
    ("_mended", lambda x: x.flatten(2).topk(5)[0]),
    ("_mended", lambda x: x.topk(3, 1, largest=False)[0]),
    ("_mended", lambda x: x.flatten(2).sort(1)[0]),
    ("_mended", lambda x: f.adaptive_max_pool2d(x, (5, 7))),
    ("_mended", lambda x: f.adaptive_max_pool2d(x, 1).flatten(1)),
    ("_mended", nn.ConvTranspose2d(8, 6, 3, (2, 3), 1, output_padding=(1, 0))),
    ("_mended", nn.ConvTranspose2d(8, 8, 3, 2, 2, dilation=(1, 2), groups=4, bias=False)),
    ("_mended", nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(8, 8, 3, 2, 1, groups=2))),
    ("_mended", lambda x: f.conv_transpose3d(deep(x), VOLUME, stride=2, dilation=2)[:, 0]),
    ("_mended", lambda x: f.conv3d(deep(x), VOLUME, groups=2, padding=1)[:, 0]),
    ("_mended", lambda x: x[..., :1].sort(dim=-1, stable=True)[0]),
    ("_mended", lambda x: x.mean(1, keepdim=True).topk(1, 1)[0]),
    ("_mended", lambda x: f.normalize(deep(x), dim=1).flatten(2, 3)),
    ("_mended", lambda x: f.adaptive_max_pool1d(x.flatten(2), 7)),
    ("_mended", lambda x: f.adaptive_avg_pool3d(x[:, None], (4, 5, 7))[:, 0]),
    ("_mended", lambda x: f.avg_pool3d(x[:, None], 3, 2, ceil_mode=True)[:, 0]),
    ("_mend_nearest", lambda x: resize(x, size=(30, 41))),
    ("_mend_nearest", lambda x: resize(x, scale_factor=0.5)),
]


IN_INT8: list[Function] = [
    nn.MaxPool2d(3, 1, 1, dilation=2),
    nn.MaxPool2d((2, 3), 2, (0, 1), dilation=(3, 1), ceil_mode=True),
    lambda x: f.max_pool3d(x[:, None], 2, 2)[:, 0],
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(3, 2, 1, divisor_override=5),
    nn.AdaptiveAvgPool2d((5, 7)),
    lambda x: f.avg_pool3d(x[:, None], 3, 2, 1, count_include_pad=False)[:, 0],
    lambda x: f.local_response_norm(x, 5, alpha=1.0),
    lambda x: x / (x.sigmoid() + 0.02),
    lambda x: x / (x.pow(2).mean(1, keepdim=True) + 1e-3).sqrt(),
    lambda x: 1 / (1 + torch.exp(-5 * x)),
    *(f.elu, f.mish, f.softplus, torch.erf, lambda x: x.logsumexp(1, True)),
]
"""What the quantiser stops at, or 256 levels spoil."""


EXPANDED = [
    lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    lambda x: x * x.mean((2, 3), keepdim=True).expand_as(x),
    lambda x: x + x.mean(1, keepdim=True).expand(-1, x.shape[1], -1, -1),
    lambda x: torch.maximum(x, x.mean(2, keepdim=True).expand_as(x)),
]
"""Right or wrong by the number of channels, where the expansion stays."""


def is_right(tried: Try) -> bool:
    return not tried.error and tried.sqnr_db > 75


def test_a_mend_is_needed(tmp_path: Path) -> None:
    target = installed_target("litert")
    assert isinstance(target, LiteRt)
    functions = [function for _, function in MENDS]
    names = {name for name, _ in MENDS}
    tried = try_each(target, functions, tmp_path, without=sorted(names))
    assert [is_right(t) for t in tried] == [False] * len(MENDS)


@pytest.mark.parametrize(("name", "precision"), [("litert", "int8"), ("litert-nchw", "float32")])
def test_what_is_mended_agrees(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    target = installed_target(name)
    mends = MENDS if name == "litert" else MENDS[::3]  # they come before the layout
    functions = [*EXPANDED, *(function for _, function in mends)]
    graph = settle(Branches(functions), SPEC, tmp_path)
    assert [rule for _, function in mends for rule in findings(target, function)] == []
    prove(target, graph, precision, tmp_path)


def test_what_int8_would_spoil_agrees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    prove(installed_target("litert"), settle(Branches(IN_INT8), SPEC, tmp_path), "int8", tmp_path)
