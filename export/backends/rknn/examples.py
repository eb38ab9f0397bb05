"""Examples of what a Rockchip NPU cannot do."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import unpool, upsample_pooled
from .chips import MINI_CHIPS
from .rules import SMALL_TRANSPOSES
from .rules_outputs import FLAT_ON_CPU, OLDER_CHIPS

_Example = partial(Example, shape=(8, 32, 32), precision="int8")


class Decoded(nn.Module):
    """Boxes in pixels and scores, joined in one tensor or not."""

    def __init__(self, joined: bool) -> None:
        super().__init__()
        self.boxes = nn.Conv2d(8, 4, 1)
        self.scores = nn.Conv2d(8, 3, 1)
        self.joined = joined

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        boxes, scores = self.boxes(x).sigmoid() * 320, self.scores(x).sigmoid()
        return torch.cat((boxes, scores), 1) if self.joined else (boxes, scores)


EXAMPLES: tuple[Example, ...] = (
    _Example(
        "pool-of-volumes",
        lambda x: f.max_pool3d(x.unflatten(1, (2, 4)), 2),
        lambda x: f.avg_pool3d(x.unflatten(1, (2, 4)), 2),
    ),
    _Example(
        "pool-of-volumes",
        lambda x: f.adaptive_max_pool3d(x.unflatten(1, (2, 4)), (2, 4, 8)),
        lambda x: f.adaptive_avg_pool3d(x.unflatten(1, (2, 4)), (2, 4, 8)),
    ),
    _Example(
        "maximum-of-a-volume",
        lambda x: f.adaptive_max_pool3d(x.unflatten(1, (2, 4)), 1),
        nn.AdaptiveMaxPool2d(1),
        cpu_ops=("ReduceMax",),
        head=0,
    ),
    _Example(
        "uneven-maximum",
        nn.AdaptiveMaxPool2d(7),
        nn.AdaptiveMaxPool2d(8),
        cpu_ops=("Gather",),
        chips=MINI_CHIPS,
    ),
    _Example(
        "resize-of-volumes",
        lambda x: f.interpolate(x.unflatten(1, (2, 4)), scale_factor=2),
        lambda x: f.interpolate(x, scale_factor=2),
    ),
    _Example(
        "resize-of-volumes",
        lambda x: f.interpolate(x.unflatten(1, (2, 4)), scale_factor=2, mode="trilinear"),
        lambda x: f.interpolate(x, scale_factor=2, mode="bilinear"),
    ),
    _Example(
        "output-of-six-axes",
        lambda x: x.unflatten(1, (2, 2, 2)),
        lambda x: x.unflatten(1, (2, 2, 2)).flatten(1, 2),
        chips=MINI_CHIPS,
    ),
    _Example("max-unpool", unpool, upsample_pooled),
    _Example("negative-padding", lambda x: f.pad(x, (-1, 0, 1, -1)), lambda x: x[..., 1:-1]),
    _Example(
        "align-corners",
        lambda x: f.interpolate(x, (64, 64), mode="bilinear", align_corners=True),
        lambda x: f.interpolate(x, (64, 64), mode="bilinear"),
        cpu_ops=("Resize",),
    ),
    _Example(
        "broken-resize",
        lambda x: f.interpolate(x, (50, 50), mode="bilinear"),
        lambda x: f.interpolate(x, (50, 50), mode="nearest"),
        cpu_ops=("Resize",),
    ),
    _Example(
        "strided-slice", lambda x: x[..., ::2, :], lambda x: x[..., 2:30, :], cpu_ops=("Slice",)
    ),
    _Example("host-operator", lambda x: x.argmax(1), lambda x: x.mean(1), cpu_ops=("ArgMax",)),
    _Example(
        "host-operator",
        lambda x: x[:, [3, 1, 2, 0]],
        lambda x: x[:, 1:5],
        cpu_ops=("GatherND",),
    ),
    _Example(
        "host-operator",
        lambda x: torch.minimum(x, x.sigmoid()),
        lambda x: x.clamp(max=0.5),
        cpu_ops=("Min",),
    ),
    _Example(
        "host-operator",
        lambda x: x.sin(),
        lambda x: x.abs(),
        cpu_ops=("Sin",),
    ),
    _Example(
        "host-operator",
        f.mish,
        f.hardswish,
        cpu_ops=("Mish",),
    ),
    _Example(
        "host-operator",
        lambda x: x.amax(1, True),
        lambda x: x.mean(1, True),
        cpu_ops=("ReduceMax",),
    ),
    _Example(
        "mini-host-operator",
        lambda x: x / (x.abs() + 1),
        lambda x: x / 3,
        chips=MINI_CHIPS,
        cpu_ops=("Div",),
    ),
    _Example(
        "mini-host-operator",
        lambda x: torch.sqrt(x.relu() + 1),
        lambda x: x.relu() + 1,
        chips=MINI_CHIPS,
        cpu_ops=("Sqrt",),
    ),
    _Example(
        "mini-host-operator",
        lambda x: x.roll(1, 2),
        lambda x: x.roll(1, 1),
        chips=MINI_CHIPS,
        cpu_ops=("Gather",),
    ),
    _Example("unmeasured-operator", torch.tan, f.leaky_relu, chips=MINI_CHIPS),
    _Example("norm", nn.GroupNorm(2, 8), nn.BatchNorm2d(8), chips=MINI_CHIPS, cpu_ops=("exNorm",)),
    _Example(
        "flat-output",
        nn.Sequential(nn.AvgPool2d(16), nn.Flatten()),
        nn.Sequential(nn.AvgPool2d(8), nn.Flatten()),
        chips=FLAT_ON_CPU,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "flat-output",
        lambda x: x.view(1, 3, 4, 8, 8).permute(0, 3, 4, 1, 2).reshape(1, -1, 4),
        lambda x: x.view(1, 4, 4, 8, 8).permute(0, 3, 4, 1, 2).reshape(1, -1, 4),
        chips=FLAT_ON_CPU,
        head=0,
        shape=(12, 8, 8),
        good_shape=(16, 8, 8),
        cpu_ops=("Reshape",),
    ),
    _Example(
        "int8-flat-output",
        nn.Sequential(nn.AvgPool2d(32), nn.Flatten()),
        nn.AvgPool2d(32),
        chips=FLAT_ON_CPU,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "vector-output",
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 16)),
        chips=FLAT_ON_CPU,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "int8-vector-output",
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1000)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 16)),
        chips=FLAT_ON_CPU,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "vector-output",
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 16)),
        chips=OLDER_CHIPS,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "int8-vector-output",
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 100)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1000)),
        chips=OLDER_CHIPS,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "vector-output",
        lambda x: x[:, :6].mean((2, 3)).sigmoid(),
        lambda x: x[:, :6].mean((2, 3), keepdim=True).sigmoid(),
        chips=(*FLAT_ON_CPU, *OLDER_CHIPS),
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "flat-map",
        nn.Sequential(nn.AvgPool2d(8), nn.Flatten(2)),
        nn.AvgPool2d(8),
        chips=OLDER_CHIPS,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "large-flatten",
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 16)),
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(128, 16)),
        chips=OLDER_CHIPS,
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "float16-large-flatten",
        nn.Sequential(nn.Conv2d(8, 100, 1), nn.AvgPool2d(5), nn.Flatten(), nn.Linear(3600, 16)),
        nn.Sequential(nn.Conv2d(8, 64, 1), nn.AvgPool2d(5), nn.Flatten(), nn.Linear(2304, 16)),
        chips=OLDER_CHIPS,
        precision="float16",
        head=0,
        cpu_ops=("Reshape",),
    ),
    _Example(
        "softmax",
        lambda x: x.softmax(1),
        lambda x: x.sigmoid(),
        chips=OLDER_CHIPS,
        head=0,
        cpu_ops=("exSoftmax13",),
    ),
    _Example(
        "large-transpose",
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.permute(0, 2, 3, 1).sigmoid(),
        chips=SMALL_TRANSPOSES,
        head=0,
        shape=(8, 96, 96),
        cpu_ops=("Transpose",),
    ),
    _Example(
        "large-transpose",
        lambda x: x.transpose(2, 3),
        lambda x: x.transpose(1, 3),
        chips=SMALL_TRANSPOSES[:2],
        head=0,
        shape=(8, 96, 96),
        cpu_ops=("Transpose",),
    ),
    _Example(
        "places-of-a-mean",
        lambda x: x.mean((2, 3)).index_select(1, torch.tensor([2, 5])),
        lambda x: x.index_select(1, torch.tensor([2, 5])).mean((2, 3)),
    ),
    _Example(
        "places-of-a-mean",
        lambda x: f.adaptive_avg_pool2d(x, 1).flatten(1).index_select(1, torch.tensor([2, 5, 6])),
        lambda x: f.adaptive_avg_pool2d(x.index_select(1, torch.tensor([2, 5, 6])), 1).flatten(1),
    ),
    _Example("pool-stride", nn.AvgPool2d(11), nn.AvgPool2d(10)),
    _Example("global-max-pool", nn.MaxPool2d(46, 1, 23), nn.MaxPool2d(47, 1, 23)),
    _Example(
        "bicubic",
        lambda x: f.interpolate(x, (64, 64), mode="bicubic"),
        lambda x: f.interpolate(x, (64, 64), mode="bilinear"),
    ),
    _Example("joined-outputs", Decoded(True), Decoded(False), head=0),
)
