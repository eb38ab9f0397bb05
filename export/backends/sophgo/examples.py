"""Examples of what Sophgo's TPUs cannot do."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import DILATED, SAME_SIZE, smaller
from .chips import BM, CV18XX

_Cv = partial(Example, chips=CV18XX)
_Int8 = partial(Example, chips=CV18XX, precision="int8")
_ROW = torch.linspace(-1, 1, 24).reshape(1, 1, 24, 1)
_CHANNEL = torch.linspace(-1, 1, 8).reshape(1, 8, 1, 1)
_KERNEL = torch.linspace(-1, 1, 8 * 4 * 9).reshape(8, 4, 3, 3)


def _gather(x: Tensor) -> Tensor:
    return x.gather(1, torch.zeros(1, 1, 24, 40, dtype=torch.long))


def _computed(x: Tensor) -> Tensor:
    return f.conv2d(x, x.mean((0, 2, 3)).reshape(1, 8, 1, 1))


EXAMPLES: tuple[Example, ...] = (
    Example("unread-operator", f.selu, f.elu),
    Example("unread-operator", f.celu, f.silu),
    Example(
        "unwritten-operator",
        lambda x: f.interpolate(x, (12, 20), mode="bilinear", antialias=True),
        smaller,
    ),
    Example(
        "kept-logsumexp",
        lambda x: x.logsumexp(1, keepdim=True),
        lambda x: x.logsumexp(1),
        head=0,
    ),
    Example("wrong-operator", lambda x: torch.fmod(x, 2.0), lambda x: x * 0.5, chips=BM),
    _Cv("missing-operator", torch.sin, torch.tanh),
    _Cv("missing-operator", torch.erf, f.gelu),
    _Cv("missing-operator", torch.atan, torch.sigmoid),
    _Cv("missing-operator", torch.round, torch.abs),
    _Cv("missing-operator", torch.floor, torch.square),
    _Cv("missing-operator", torch.sign, f.softsign),
    _Cv("missing-operator", lambda x: x.argmax(1).float(), lambda x: x.amax(1)),
    _Cv("missing-operator", lambda x: x.prod(1, True), lambda x: x.sum(1, True)),
    _Cv("missing-operator", lambda x: f.threshold(x, 0.1, 0.0), torch.relu),
    _Cv("missing-operator", lambda x: f.hardshrink(x, 0.3), lambda x: f.leaky_relu(x, 0.1)),
    _Cv("missing-operator", lambda x: f.group_norm(x, 2), nn.BatchNorm2d(8)),
    _Cv("missing-operator", lambda x: f.unfold(x, 2, stride=2), lambda x: f.pixel_unshuffle(x, 2)),
    _Cv("choice", lambda x: torch.where(x > 0, x * 2, x), lambda x: f.leaky_relu(-x, 2.0)),
    _Cv("choice", lambda x: x.masked_fill(x < 0, -0.3), torch.relu),
    _Cv("choice", lambda x: (x > 0).float(), torch.sigmoid),
    _Cv("open-clamp", lambda x: x.clamp(max=0.3), lambda x: x.clamp(-100, 0.3)),
    _Cv(
        "broadcast-maximum",
        lambda x: torch.maximum(x, _CHANNEL),
        lambda x: torch.maximum(x, x * 0.5),
    ),
    _Cv("scattered-broadcast", lambda x: x + _ROW, lambda x: x + _CHANNEL),
    Example("scattered-reduction", lambda x: x.mean((1, 3)), lambda x: x.mean((2, 3)), chips=BM),
    _Int8("int8-scattered-reduction", lambda x: x.mean((1, 3)), lambda x: x.mean((2, 3))),
    _Int8("int8-exponential", lambda x: x.log_softmax(1), lambda x: x.softmax(1)),
    _Int8(
        "int8-exponential",
        lambda x: 1 / (2 + (-x).exp()),
        torch.sigmoid,
    ),
    _Int8(
        "int8-layer-norm",
        lambda x: f.layer_norm(x.flatten(2).transpose(1, 2), (8,)),
        nn.BatchNorm2d(8),
    ),
    Example("flip-of-axes", lambda x: x.flip((2, 3)), lambda x: x.flip(3)),
    _Cv("flip", lambda x: x.flip(1), lambda x: x.flip(3)),
    _Cv("roll", lambda x: x.roll(1, 3), lambda x: x.roll(1, 1)),
    _Cv("negative-place", lambda x: x[:, :, -2], lambda x: x[:, :, 22]),
    _Cv("index-list", lambda x: x[:, [3, 1, 2, 0]], lambda x: x[:, 1:5]),
    _Cv(
        "repeat-interleave",
        lambda x: x.repeat_interleave(2, 3),
        lambda x: f.interpolate(x, scale_factor=(1, 2)),
    ),
    Example("dilated-pool", DILATED, SAME_SIZE),
    Example("negative-padding", lambda x: f.pad(x, (-1, 0, 1, -1)), lambda x: x[..., 1:39]),
    Example("average-ceil-mode", nn.AvgPool2d(3, 2, 0, ceil_mode=True), nn.AvgPool2d(3, 2, 0)),
    _Cv(
        "uncounted-padding",
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1),
    ),
    _Cv("pool-stride", nn.MaxPool2d((3, 20)), nn.MaxPool2d((3, 10))),
    _Cv("pool-stride", nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d((3, 4))),
    Example("uneven-pool", nn.AdaptiveAvgPool2d(7), nn.AdaptiveAvgPool2d((3, 4))),
    _Cv("maximum-of-a-map", nn.AdaptiveMaxPool2d(1), lambda x: x.amax((2, 3), True)),
    _Cv(
        "dilated-transpose",
        lambda x: f.conv_transpose2d(x, _KERNEL, None, 2, 2, 1, 1, 2),
        lambda x: f.conv_transpose2d(x, _KERNEL, None, 2, 1, 1),
    ),
    _Cv("computed-kernel", _computed, lambda x: (x * x.mean((2, 3), True)).sum(1, True)),
    Example(
        "bicubic",
        lambda x: f.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda x: f.interpolate(x, scale_factor=2, mode="bilinear"),
    ),
    _Cv(
        "permute",
        lambda x: x.unflatten(1, (2, 4)).permute(0, 4, 3, 2, 1),
        lambda x: x.permute(0, 3, 2, 1),
    ),
    _Cv("host-operator", lambda x: x.cumsum(1) * 0.1, torch.tanh, cpu_ops=("cumsum",)),
    _Cv("host-operator", lambda x: x.topk(4, 1).values, lambda x: x[:, :4], cpu_ops=("topk",)),
    _Cv("host-operator", f.instance_norm, nn.BatchNorm2d(8), cpu_ops=("instance_norm",)),
    _Cv("host-operator", _gather, lambda x: x[:, :1], cpu_ops=("gatherelements_pt",)),
    _Cv(
        "host-operator",
        lambda x: f.interpolate(x, scale_factor=1.5),
        lambda x: f.interpolate(x, scale_factor=2),
        cpu_ops=("interp",),
    ),
    _Cv(
        "host-operator",
        lambda x: f.interpolate(x, (31, 45), mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=0.5, mode="bilinear"),
        cpu_ops=("interp",),
    ),
)
