"""Examples of what nncase fails on, computes wrongly, or leaves to the CPU."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as f

from ...lint.examples import Example
from ...lint.shared_examples import unpool, upsample_pooled

_Example = partial(Example, shape=(8, 16, 20), head=3, precision="int8")


def conv(outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(8, outputs, kernel, stride, kernel // 2, groups=groups)


class Skip(nn.Module):
    """A map and its pooled half; with ``thinned`` it is a 1x1 convolution's that is pooled."""

    def __init__(self, thinned: bool) -> None:
        super().__init__()
        self.thin = conv(8, 1) if thinned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        small = f.max_pool2d(self.thin(x), 2)
        return f.interpolate(small, scale_factor=2.0) + x


EXAMPLES: tuple[Example, ...] = (
    _Example("gelu", nn.GELU(), nn.SiLU()),
    _Example(
        "transposed-convolution",
        nn.ConvTranspose2d(8, 8, 2, 2),
        nn.Sequential(nn.Upsample(scale_factor=2.0), conv(8)),
    ),
    _Example("padding-layer", nn.ZeroPad2d((0, 1, 0, 1)), conv(8), cpu_ops=("Pad",)),
    _Example("padding-value", nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(1)),
    _Example("max-unpool", unpool, upsample_pooled),
    _Example("uneven-pool", nn.AdaptiveAvgPool2d((5, 6)), nn.AdaptiveAvgPool2d((8, 10))),
    _Example("dilated-pool", nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(2)),
    _Example("pool-ceil-mode", nn.AvgPool2d(3, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
    _Example(
        "half-pixel-bilinear",
        nn.Upsample(scale_factor=2.0, mode="bilinear"),
        nn.Upsample(scale_factor=2.0),
    ),
    _Example("padded-average", nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2)),
    _Example("fractional-size", nn.Upsample(scale_factor=1.3), nn.Upsample(scale_factor=1.5)),
    _Example(
        "depthwise-multiplier",
        nn.Sequential(conv(16, groups=8), nn.Conv2d(16, 8, 1)),
        nn.Sequential(conv(8, groups=8), nn.Conv2d(8, 8, 1)),
    ),
    _Example("kernel", conv(8, 5), conv(8), cpu_ops=("Conv2D",)),
    _Example("groups", conv(8, groups=2), conv(8, groups=8)),
    _Example("dilation", nn.Conv2d(8, 8, 3, padding=2, dilation=2), conv(8)),
    _Example("stride", nn.Conv2d(8, 8, 3, 3, 1), conv(8, 3, 2)),
    _Example("padding", nn.Conv2d(8, 8, 3), conv(8)),
    _Example("channels", nn.Sequential(conv(1030, 1), nn.Conv2d(1030, 8, 1)), conv(8)),
    _Example(
        "small-map", nn.Sequential(nn.MaxPool2d(4), nn.MaxPool2d(2), conv(8)), nn.MaxPool2d(4)
    ),
    _Example("cpu-pool", nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)),
    _Example(
        "depthwise-stride",
        conv(8, 3, 2, 8),
        nn.Sequential(conv(8, 3, 2, 8), conv(8, 1)),
        cpu_ops=("Slice",),
    ),
    _Example("pool-of-a-skip", Skip(False), Skip(True), cpu_ops=("ReduceWindow2D",)),
    _Example(
        "large-linear",
        nn.Sequential(nn.Flatten(), nn.Linear(2560, 5)),
        nn.Sequential(nn.AvgPool2d((16, 20)), nn.Flatten(), nn.Linear(8, 5)),
    ),
    _Example(
        "large-map",
        nn.Sequential(nn.Upsample(scale_factor=2.0), conv(8)),
        conv(8),
        shape=(8, 136, 16),
    ),
    _Example("instance-norm", nn.InstanceNorm2d(8), nn.BatchNorm2d(8)),
    _Example("cpu-operator", nn.PReLU(8), nn.LeakyReLU(0.1)),
    _Example(
        "normalization-inside",
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8)),
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()),
    ),
)
