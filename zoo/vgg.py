"""VGG: stacks of 3x3 convolutions between 2x2 max pools, with convolutions for a head.

The idea is Simonyan and Zisserman's ("Very deep convolutional networks for large-scale image
recognition", 2014); every convolution is followed by batch normalisation (Ioffe and Szegedy, 2015)
and has no bias of its own. Three kinds are here:

``vgg_s`` is the net of a port to the RK3399Pro for 32x32 images: six convolutions, and the head
2048-128-10 as a 4x4 and a 1x1 convolution, so that the graph has no Reshape and stays 4-D.

``vgg11_bn`` to ``vgg19_bn`` are the paper's configurations A, B, D and E. The fully connected
layers are convolutions, the first with a kernel as large as the map: 7x7 for 224x224 images,
where it equals torchvision's network exactly (``importers.torchvision`` loads its weights).

``vgg_kpu`` keeps to what the K210's KPU computes: 3x3 and 1x1 convolutions with symmetric padding,
2x2 max pools that fuse into the dense 3x3 convolution before them, no map under 4x4, no more than
1024 channels, and the 1x1 head in front of the average pool (the two commute exactly).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ..errors import ModelError
from .layers import Act, ConvBnAct, ConvHead, FixedAvgPool, make_act
from .registry import register_model
from .spec import ModelSpec
from .stages import split_stages

# Output channels of the 3x3 convolutions; a pool halves the map. Letters are the paper's.
Plan = Sequence[int | Literal["pool"]]
_VGG_S: Plan = (32, "pool", 64, 64, "pool", 128, 128, 128, "pool")
_VGG_KPU: Plan = (64, 64, "pool", 128, 128, "pool", 256, 256, "pool", 256, 256)
_A: Plan = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")
_B: Plan = (
    *(64, 64, "pool", 128, 128, "pool", 256, 256, "pool"),
    *(512, 512, "pool", 512, 512, "pool"),
)
_D: Plan = (
    *(64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool"),
    *(512, 512, 512, "pool", 512, 512, 512, "pool"),
)
_E: Plan = (
    *(64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool"),
    *(512, 512, 512, 512, "pool", 512, 512, 512, 512, "pool"),
)


def _stack(plan: Plan, in_channels: int, act: Act, width: float) -> tuple[nn.Sequential, int]:
    """The convolutions and pools of ``plan``, and the channels of their output."""
    layers: list[nn.Module] = []
    channels = in_channels
    for step in plan:
        if step == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            out_channels = _scaled(step, width)
            layers.append(ConvBnAct(channels, out_channels, act=act))
            channels = out_channels
    return nn.Sequential(*layers), channels


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _map_size(plan: Plan, input_size: tuple[int, int], smallest: int = 1) -> tuple[int, int]:
    """Height and width of the map that ``plan`` makes of an image.

    Raises:
        ModelError: a side of the map is under ``smallest``.
    """
    shrink = 2 ** list(plan).count("pool")
    height, width = (side // shrink for side in input_size)
    if min(height, width) < smallest:
        least = smallest * shrink
        raise ModelError(
            f"this VGG needs an input of at least {least}x{least} pixels (its last map has "
            f"{smallest}x{smallest} or more), got {input_size[0]}x{input_size[1]}"
        )
    return height, width


class VggS(nn.Module):
    """Six convolutions, three pools; a convolution over the whole map; a 1x1 convolution.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; with 32x32 images the maps are 32, 16,
    8, 4 and 1 pixels wide. The hidden layer has batch normalisation and an activation: without one
    the two layers of the head would be a single linear map, and the normalisation folds away.
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
        map_size = _map_size(_VGG_S, input_size)
        self.features, channels = _stack(_VGG_S, in_channels, act, width)
        hidden = _scaled(128, width)
        self.hidden = ConvBnAct(channels, hidden, map_size, padding=0, act=act)
        self.head = ConvHead(hidden, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """Reductions 1, 2, 4 and 8; the last is a pool alone."""
        return split_stages(self.features)


class Vgg(nn.Module):
    """The paper's network: ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``.

    The head's three layers have biases and no normalisation, with dropout between them, as in the
    paper and in torchvision.
    """

    def __init__(
        self,
        plan: Plan,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        act: Act,
        width: float,
        dropout: float,
    ) -> None:
        super().__init__()
        map_size = _map_size(plan, input_size)
        self.features, channels = _stack(plan, in_channels, act, width)
        hidden = _scaled(4096, width)
        self.head = nn.Sequential(
            ConvHead(channels, hidden, map_size),
            make_act(act),
            nn.Dropout(dropout),
            ConvHead(hidden, hidden),
            make_act(act),
            nn.Dropout(dropout),
            ConvHead(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def feature_stages(self) -> list[nn.Sequential]:
        """Reductions 1, 2, 4, 8, 16 and 32; the last is a pool alone, as in timm."""
        return split_stages(self.features)


class VggKpu(nn.Module):
    """Two 3x3 convolutions a stage, 64-128-256-256 channels; 1x1 head, then a fixed average pool.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; with 32x32 images the stages' maps are
    32, 16, 8 and 4 pixels wide.
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
        map_size = _map_size(_VGG_KPU, input_size, smallest=4)
        if _scaled(256, width) > 1024 or num_classes > 1024:
            raise ModelError("vgg_kpu: the KPU has at most 1024 channels (width 4, 1024 classes)")
        self.features, channels = _stack(_VGG_KPU, in_channels, act, width)
        self.head = ConvHead(channels, num_classes)
        self.pool = FixedAvgPool(map_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.head(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """Reductions 1, 2, 4 and 8."""
        return split_stages(self.features)


_PAPER = "Simonyan and Zisserman 2014"
_CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@register_model(
    ModelSpec(
        task="classification",
        input_size=(32, 32),
        color="rgb",
        # Of the 50,000 training images: .4913 .4821 .4465 and .2452 .2428 .2606, times 255.
        mean=(125.28, 122.94, 113.86),
        std=(62.53, 61.91, 66.45),
        classes=_CIFAR10,
        dataset="cifar10",
        description="small VGG for 32x32 images, convolutions instead of linear layers",
        reference=f"{_PAPER}, as narrowed for an RK3399Pro port",
    )
)
def vgg_s(
    num_classes: int = 10,
    in_channels: int = 3,
    input_size: tuple[int, int] = (32, 32),
    act: Act = "relu",
    width: float = 1.0,
) -> nn.Module:
    """689,568 parameters at the default size; no convolution has a bias."""
    return VggS(num_classes, in_channels, input_size, act, width)


@register_model(
    ModelSpec(
        task="classification",
        input_size=(32, 32),
        color="rgb",
        mean=(0.0, 0.0, 0.0),  # black pads black: the scale folds into the first convolution
        std=(255.0, 255.0, 255.0),
        classes=_CIFAR10,
        dataset="cifar10",
        description="VGG for 32x32 images, made for the K210's KPU",
        reference=f"edgeark; {_PAPER}",
    )
)
def vgg_kpu(
    num_classes: int = 10,
    in_channels: int = 3,
    input_size: tuple[int, int] = (32, 32),
    act: Act = "relu",
    width: float = 1.0,
) -> nn.Module:
    """2,329,546 parameters and 171.7 M MACs at the default size."""
    return VggKpu(num_classes, in_channels, input_size, act, width)


def _imagenet_spec(depth: int, configuration: str) -> ModelSpec:
    return ModelSpec(
        task="classification",
        input_size=(224, 224),
        color="rgb",
        mean=(123.675, 116.28, 103.53),  # ImageNet's, as in torchvision, times 255
        std=(58.395, 57.12, 57.375),
        classes=tuple(str(i) for i in range(1000)),
        dataset="imagenet",
        description=f"VGG-{depth} with batch normalisation, convolutions instead of linear layers",
        reference=f"{_PAPER}, configuration {configuration}",
    )


@register_model(_imagenet_spec(11, "A"))
def vgg11_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    dropout: float = 0.5,
) -> nn.Module:
    """132,866,088 parameters at the default size, 102.8 M of them in the 7x7 convolution."""
    return Vgg(_A, num_classes, in_channels, input_size, act, width, dropout)


@register_model(_imagenet_spec(13, "B"))
def vgg13_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    dropout: float = 0.5,
) -> nn.Module:
    """133,050,792 parameters at the default size."""
    return Vgg(_B, num_classes, in_channels, input_size, act, width, dropout)


@register_model(_imagenet_spec(16, "D"))
def vgg16_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    dropout: float = 0.5,
) -> nn.Module:
    """138,361,768 parameters at the default size."""
    return Vgg(_D, num_classes, in_channels, input_size, act, width, dropout)


@register_model(_imagenet_spec(19, "E"))
def vgg19_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    dropout: float = 0.5,
) -> nn.Module:
    """143,672,744 parameters at the default size."""
    return Vgg(_E, num_classes, in_channels, input_size, act, width, dropout)
