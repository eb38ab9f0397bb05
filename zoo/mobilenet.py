"""MobileNet v1 and v2: depthwise 3x3 convolutions mixed by 1x1 ones, fit for the K210's KPU.

v1 is Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
applications", 2017; v2 is Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks",
2018. Layers and channels are the papers'; what is chosen for chips:

- padding is symmetric (TensorFlow's SAME pads an even map on one side, which leaves the KPU);
- a depthwise convolution of stride 2 is always followed by a 1x1: the KPU computes the depthwise
  one at full resolution and drops three pixels of four in the layer after it;
- ReLU6 everywhere, which keeps the range that int8 has to cover known and small;
- the classifier is a 1x1 convolution in front of a fixed average pool, on a map of 4x4 or more. The
  two commute exactly, so published weights give the same answer; it costs 49 times the classifier's
  MACs at 224x224, and spares the KPU a 1x1 map, which it cannot hold.

v2 as published is not for the K210: its last convolution has 1280 channels, where the KPU ends at
1024 (``last_channels=1024`` fixes that), and each residual sum costs a visit to the CPU.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ModelError
from .layers import Act, ConvBnAct, ConvHead, FixedAvgPool
from .registry import register_model
from .spec import ModelSpec
from .stages import split_stages

_SHRINK = 32  # five layers of stride 2
_SMALLEST_MAP = 4

# v1: output channels and stride of each depthwise + 1x1 pair, after a stem of 32.
_V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
# v2: expansion, output channels, repeats and stride of the first repeat, after a stem of 32.
_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor`` that is at least 90 % of ``channels`` (v2's rule).

    At the widths of the v1 paper it equals plain multiplication.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def _map_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the last map.

    Raises:
        ModelError: a side is no multiple of 32 (every layer of stride 2 shall see an even map, as
            the KPU's 2x2 pick has it) or under 128.
    """
    least = _SMALLEST_MAP * _SHRINK
    if any(side % _SHRINK or side < least for side in input_size):
        raise ModelError(
            f"a MobileNet needs sides that are multiples of {_SHRINK}, {least} or more (its last "
            f"map has {_SMALLEST_MAP}x{_SMALLEST_MAP} or more), got {input_size[0]}x{input_size[1]}"
        )
    return input_size[0] // _SHRINK, input_size[1] // _SHRINK


def _depthwise(channels: int, stride: int, act: Act) -> ConvBnAct:
    return ConvBnAct(channels, channels, 3, stride, groups=channels, act=act)


class MobileNetV1(nn.Module):
    """A 3x3 stem of stride 2, then 13 pairs of depthwise 3x3 and 1x1; 1x1 head, fixed pool.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; the last map is ``H / 32``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        act: Act,
        width: float,
    ) -> None:
        super().__init__()
        map_size = _map_size(input_size)
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [ConvBnAct(in_channels, channels, 3, 2, act=act)]
        for full_width, stride in _V1:
            out_channels = make_divisible(full_width * width)
            layers.append(
                nn.Sequential(
                    _depthwise(channels, stride, act), ConvBnAct(channels, out_channels, 1, act=act)
                )
            )
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.head = ConvHead(channels, num_classes)
        self.pool = FixedAvgPool(map_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.head(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """Reductions 2, 4, 8, 16 and 32."""
        return split_stages(self.features)


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise 3x3, 1x1 to few without activation; plus the input.

    ``[N, C, H, W] -> [N, C', H / stride, W / stride]``; the sum is there where shapes allow it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, act: Act
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [ConvBnAct(in_channels, hidden, 1, act=act)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            _depthwise(hidden, stride, act),
            ConvBnAct(hidden, out_channels, 1, act="none"),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """A 3x3 stem of stride 2, 17 inverted residuals, a 1x1 to ``last_channels``; head, fixed pool.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; the last map is ``H / 32``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        act: Act,
        width: float,
        last_channels: int,
    ) -> None:
        super().__init__()
        map_size = _map_size(input_size)
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [ConvBnAct(in_channels, channels, 3, 2, act=act)]
        for expansion, full_width, repeats, first_stride in _V2:
            out_channels = make_divisible(full_width * width)
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(InvertedResidual(channels, out_channels, stride, expansion, act))
                channels = out_channels
        last = make_divisible(last_channels * max(1.0, width))  # not narrowed, as the paper says
        layers.append(ConvBnAct(channels, last, 1, act=act))
        self.features = nn.Sequential(*layers)
        self.head = ConvHead(last, num_classes)
        self.pool = FixedAvgPool(map_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.head(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """Reductions 2, 4, 8, 16 and 32.

        The last 1x1 belongs to the classifier, as in timm: at width 0.35 it turns 112 channels
        into 1280, which a decoder would have to reduce again.
        """
        return split_stages(self.features[:-1])


def _spec(description: str, reference: str) -> ModelSpec:
    return ModelSpec(
        task="classification",
        input_size=(224, 224),
        color="rgb",
        mean=(0.0, 0.0, 0.0),  # black pads black: the scale folds into the first convolution
        std=(255.0, 255.0, 255.0),
        classes=tuple(str(i) for i in range(1000)),
        dataset="imagenet",
        description=description,
        reference=reference,
    )


def _v1_spec(width: str) -> ModelSpec:
    description = f"MobileNet v1, {width} of the width: depthwise and 1x1 convolutions"
    return _spec(description, "Howard et al. 2017")


def _v2_spec(width: str) -> ModelSpec:
    description = f"MobileNet v2, {width} of the width: inverted residuals"
    return _spec(description, "Sandler et al. 2018")


@register_model(_v1_spec("0.25"))
def mobilenet_v1_025(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 0.25,
) -> nn.Module:
    """470,072 parameters; also for 128x128 and 160x160."""
    return MobileNetV1(num_classes, in_channels, input_size, act, width)


@register_model(_v1_spec("0.50"))
def mobilenet_v1_050(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 0.5,
) -> nn.Module:
    """1,331,592 parameters; also for 128x128 and 160x160."""
    return MobileNetV1(num_classes, in_channels, input_size, act, width)


@register_model(_v1_spec("0.75"))
def mobilenet_v1_075(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 0.75,
) -> nn.Module:
    """2,585,560 parameters; also for 128x128 and 160x160."""
    return MobileNetV1(num_classes, in_channels, input_size, act, width)


@register_model(_v1_spec("1.00"))  # 4.2 MB of weights beside 6 MB of memory in all
def mobilenet_v1_100(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 1.0,
) -> nn.Module:
    """4,231,976 parameters; also for 128x128 and 160x160."""
    return MobileNetV1(num_classes, in_channels, input_size, act, width)


@register_model(_v2_spec("0.35"))
def mobilenet_v2_035(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 0.35,
    last_channels: int = 1280,
) -> nn.Module:
    """1,677,128 parameters; also for 128x128 and 160x160."""
    return MobileNetV2(num_classes, in_channels, input_size, act, width, last_channels)


@register_model(_v2_spec("0.50"))
def mobilenet_v2_050(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 0.5,
    last_channels: int = 1280,
) -> nn.Module:
    """1,968,680 parameters; also for 128x128 and 160x160."""
    return MobileNetV2(num_classes, in_channels, input_size, act, width, last_channels)


@register_model(_v2_spec("1.00"))
def mobilenet_v2_100(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu6",
    width: float = 1.0,
    last_channels: int = 1280,
) -> nn.Module:
    """3,504,872 parameters; also for 128x128 and 160x160."""
    return MobileNetV2(num_classes, in_channels, input_size, act, width, last_channels)
