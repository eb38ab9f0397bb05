"""Examples of what the K210 cannot do, and what costs it dearly."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as f

from ...lint.examples import Example

_Example = partial(Example, shape=(8, 16, 24), head=0, precision="int8")


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


SCALE = torch.arange(1.0, 9)[:, None, None]


EXAMPLES: tuple[Example, ...] = (
    _Example("kernel", nn.Conv2d(8, 8, 5, padding=2), nn.Sequential(conv(8, 8), conv(8, 8))),
    _Example("groups", conv(8, 8, groups=2), conv(8, 8, groups=8)),
    _Example("dilation", nn.Conv2d(8, 8, 3, padding=2, dilation=2), conv(8, 8)),
    _Example("stride", nn.Conv2d(8, 8, 3, 3, 1), conv(8, 8, 3, 2)),
    _Example(
        "odd-map",
        nn.Sequential(nn.MaxPool2d(3, 1), nn.MaxPool2d(2, 1), conv(8, 8, 3, 2)),
        nn.Sequential(nn.MaxPool2d(3, 1), conv(8, 8, 3, 2)),
    ),
    _Example("padding", nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, padding="same")),
    _Example(
        "padding-layer",
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, 2)),
        conv(8, 8, 3, 2),
    ),
    _Example("channels", conv(8, 1030, 1), conv(8, 1024, 1)),
    _Example(
        "small-map",
        nn.Sequential(nn.MaxPool2d(4), nn.MaxPool2d(2), conv(8, 8)),
        nn.Sequential(nn.MaxPool2d(4), conv(8, 8)),
    ),
    _Example("pool", nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2)),
    _Example("mean", lambda x: x.mean(3), lambda x: x.mean((2, 3))),
    _Example("mean", nn.AdaptiveAvgPool2d((5, 6)), nn.AdaptiveAvgPool2d((8, 12))),
    _Example("prelu", nn.PReLU(8), nn.LeakyReLU(0.1)),
    _Example("unknown-operator", nn.CELU(), nn.SELU()),
    _Example("normalization", nn.InstanceNorm2d(8), nn.BatchNorm2d(8)),
    _Example("normalization-inside", lambda x: x * SCALE, lambda x: (x - 0.5) / 0.2),
    _Example(
        "two-tensors",
        lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x + f.max_pool2d(x, 3, 1, 1),
    ),
    _Example("slice", lambda x: x[:, :, 1:], lambda x: x[:, :, 0:]),
    _Example(
        "transpose",
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: f.avg_pool2d(x, (16, 24)).permute(0, 2, 3, 1),
    ),
    _Example("concat", lambda x: torch.cat((x, x), 2), lambda x: torch.cat((x, x), 1)),
    _Example("upsample-factor", nn.Upsample(size=(20, 30)), nn.Upsample(scale_factor=2.0)),
    _Example(
        "resize", nn.Upsample(scale_factor=2.0, mode="bilinear"), nn.Upsample(scale_factor=2.0)
    ),
    _Example(
        "softmax", nn.Softmax(1), nn.Sequential(nn.AvgPool2d((16, 24)), nn.Flatten(), nn.Softmax(1))
    ),
    _Example("linear-of-a-map", nn.Linear(24, 5), nn.Sequential(nn.Flatten(), nn.Linear(3072, 5))),
    _Example(
        "transposed-convolution",
        nn.ConvTranspose2d(8, 8, 2, 2),
        nn.Sequential(nn.Upsample(scale_factor=2.0), conv(8, 8)),
    ),
    _Example("slice", lambda x: x[:, :4], conv(8, 4, 1)),
    _Example("transpose", nn.PixelShuffle(2), nn.Upsample(scale_factor=2.0)),
    _Example("max-of-maps", lambda x: x.amax((2, 3)), nn.AdaptiveMaxPool2d(1)),
    _Example(
        "pool-of-a-skip",
        lambda x: torch.cat((f.interpolate(f.max_pool2d(x, 2), scale_factor=2.0), x), 1),
        nn.MaxPool2d(2),
        cpu_ops=("(max_2)",),
    ),
    _Example(
        "depthwise-stride",
        nn.Sequential(conv(8, 8, 3, 2, 8), conv(8, 8)),
        nn.Sequential(conv(8, 8, 3, 2, 8), nn.ReLU6(), conv(8, 8, 1)),
        cpu_ops=("(left_top_2)",),
    ),
    _Example(
        "large-linear",
        nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)),
        nn.Sequential(nn.AvgPool2d((16, 24)), nn.Flatten(), nn.Linear(8, 5)),
        cpu_ops=("linear",),
    ),
    _Example(
        "head-on-a-pixel",
        nn.Sequential(nn.AvgPool2d((16, 24)), conv(8, 5, 1)),
        nn.Sequential(conv(8, 5, 1), nn.AvgPool2d((16, 24))),
        cpu_ops=("@features",),
    ),
    _Example(
        "large-map",
        nn.Sequential(nn.Upsample(scale_factor=2.0), conv(8, 8)),
        conv(8, 8),
        shape=(8, 136, 16),
    ),
    _Example("kpu-memory", conv(32, 32), conv(32, 4), shape=(32, 200, 200)),
    _Example("product", lambda x: x @ torch.ones(24, 4), conv(8, 4)),
    _Example(
        "log-softmax",
        nn.LogSoftmax(1),
        nn.Sequential(nn.AvgPool2d((16, 24)), nn.Flatten(), nn.Softmax(1)),
    ),
    _Example("unknown-operator", lambda x: x.cumsum(3), nn.GELU()),
    _Example("unknown-operator", lambda x: x.sum((2, 3)), lambda x: x.abs().sqrt()),
    _Example("unknown-operator", lambda x: x.flip(3), lambda x: torch.maximum(x, -0.5 * x)),
    _Example(
        "main-memory",
        nn.Sequential(conv(8, 1024, 1), conv(1024, 700)),
        nn.Sequential(conv(8, 512, 1), conv(512, 512)),
    ),
    _Example(
        "maixpy-memory",
        nn.Sequential(conv(8, 1024, 1), conv(1024, 450)),
        nn.Sequential(conv(8, 512, 1), conv(512, 512)),
    ),
    _Example("camera", conv(8, 8), conv(8, 8), shape=(8, 16, 328), good_shape=(8, 16, 320)),
    _Example("cpu-pool", nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2), cpu_ops=("max_pool",)),
)
