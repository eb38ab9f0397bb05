"""Examples of what the HTP's compiler refuses or computes wrongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import (
    ANTIALIAS,
    CIRCULAR,
    DILATED,
    SAME_SIZE,
    index_of_max,
    sample,
)

_SLOPES = torch.arange(8.0) / 8


class _InVolume(nn.Module):
    """A layer on a map as a volume of one slice."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, :, None])[:, :, 0]


EXAMPLES: tuple[Example, ...] = (
    Example("missing-operator", f.celu, f.elu),
    Example("missing-operator", torch.erf, torch.tanh),
    Example("missing-operator", torch.sinh, torch.sin),
    Example("missing-operator", torch.asinh, torch.atan),
    Example("missing-operator", torch.cosh, torch.cos),
    Example("missing-operator", lambda x: (x.abs() + 1.5).acosh(), lambda x: (x.abs() + 1).log()),
    Example("missing-operator", lambda x: (x.tanh() * 0.9).atanh(), torch.tanh),
    Example("missing-operator", lambda x: x.prod(1, True), lambda x: x.sum(1, True)),
    Example("missing-operator", lambda x: torch.fmod(x, 2.0), lambda x: x * 0.5),
    CIRCULAR,
    Example("dilated-pool", DILATED, SAME_SIZE),
    ANTIALIAS,
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.7),
        lambda x: f.interpolate(x, scale_factor=3),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=0.6),
        lambda x: f.interpolate(x, scale_factor=0.5),
    ),
    Example(
        "nearest-rounding",
        lambda x: f.interpolate(x[:, :, :20], (46, 92)),
        lambda x: f.interpolate(x[:, :, :20], (22, 44)),
    ),
    Example("pool-indices", index_of_max, nn.MaxPool2d(2)),
    Example(
        "transposed-dilation",
        nn.ConvTranspose2d(8, 4, 3, 2, 1, dilation=2),
        nn.ConvTranspose2d(8, 4, 5, 2, 1),
    ),
    Example(
        "norm-of-several-axes",
        lambda x: f.layer_norm(x, x.shape[1:]),
        lambda x: f.layer_norm(x, x.shape[-1:]),
    ),
    Example(
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "zeros"),
    ),
    Example("volume", _InVolume(nn.MaxPool3d((1, 2, 2))), nn.MaxPool2d(2)),
    Example(
        "volume",
        _InVolume(nn.ConvTranspose3d(8, 4, (1, 3, 3), padding=(0, 1, 1))),
        _InVolume(nn.ConvTranspose3d(8, 4, (1, 3, 3))),
    ),
    Example("five-axes", _InVolume(f.elu), f.elu),
    Example("five-axes", _InVolume(torch.tanh), _InVolume(torch.sigmoid)),
    Example("five-axes", _InVolume(f.softplus), f.softplus),
    Example("five-axes", _InVolume(torch.neg), torch.neg),
    Example("five-axes", _InVolume(torch.cos), torch.cos),
    Example("five-axes", _InVolume(f.logsigmoid), f.logsigmoid),
    Example(
        "five-axes",
        _InVolume(lambda x: (x.abs() + 0.1).sqrt()),
        lambda x: (x.abs() + 0.1).sqrt(),
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: (x.abs() + 1).log()),
        lambda x: (x.abs() + 1).log(),
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: (x.abs() + 1).rsqrt()),
        lambda x: (x.abs() + 1).rsqrt(),
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: x.log_softmax(3)),
        _InVolume(lambda x: x.softmax(3)),
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: x / (x.norm(dim=3, keepdim=True) + 1)),
        lambda x: x + x.norm(dim=1, keepdim=True),
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: x.topk(4, 1).values),
        lambda x: x.topk(4, 1).values,
    ),
    Example(
        "five-axes",
        _InVolume(lambda x: x.sort(3).values),
        lambda x: x.sort(3).values,
    ),
    Example(
        "six-axes",
        _InVolume(lambda x: torch.stack([x, x.relu()], 2).flatten(1, 2)),
        lambda x: torch.stack([x, x.relu()], 2).flatten(1, 2),
    ),
    Example(
        "int8-refused",
        lambda x: f.unfold(x, 2, stride=2),
        lambda x: f.pixel_unshuffle(x, 2).flatten(2),
        precision="int8",
    ),
    Example(
        "int8-refused",
        lambda x: x.logsumexp(1, True),
        lambda x: x.amax(1, True),
        precision="int8",
    ),
    Example(
        "int8-cumulative-sum",
        lambda x: x.cumsum(1) * 0.1,
        lambda x: x @ torch.ones(40, 40).triu() * 0.1,
        precision="int8",
    ),
    Example(
        "int8-slopes",
        lambda x: f.prelu(x.flatten(2), _SLOPES),
        lambda x: f.prelu(x, _SLOPES).flatten(2),
        precision="int8",
    ),
)
