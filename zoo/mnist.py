"""Two digit networks: the classic one of the Rockchip port, and one that fits the K210's KPU.

``mnist`` is LeNet-5 in the widened form of the Caffe example (20, 50 and 500 channels; LeCun et
al., "Gradient-based learning applied to document recognition", 1998) with batch normalisation, and
convolutions where the original has fully connected layers. Ports to RK1808 and RK3399Pro boards
made it so because the converter rejected ``view`` and ``Linear``; the graph stays 4-D to the end.

``mnist_kpu`` keeps to what the K210's KPU computes: 3x3 and 1x1 convolutions with symmetric
padding, 2x2 pools that fuse into the convolution before them, no map under 4x4, and the 1x1 head in
front of the average pool (the two commute exactly, and the KPU needs the larger map).
"""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ModelError
from .layers import Act, ConvBnAct, ConvHead, FixedAvgPool
from .registry import register_model
from .spec import ModelSpec
from .stages import split_stages


class Mnist(nn.Module):
    """conv5x5 - pool - conv5x5 - pool - conv over the whole map - conv1x1.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; with the default 28x28 input the maps are
    24, 12, 8, 4 and 1 pixels wide.
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
        height, width_px = (((side - 4) // 2 - 4) // 2 for side in input_size)
        if height < 1 or width_px < 1:
            raise ModelError(f"mnist needs an input of at least 16x16 pixels, got {input_size}")
        c1, c2, c3 = (max(1, round(channels * width)) for channels in (20, 50, 500))
        self.features = nn.Sequential(
            ConvBnAct(in_channels, c1, 5, padding=0, act=act),
            nn.MaxPool2d(2),
            ConvBnAct(c1, c2, 5, padding=0, act=act),
            nn.MaxPool2d(2),
        )
        self.hidden = ConvBnAct(c2, c3, (height, width_px), padding=0, act=act)
        self.head = ConvHead(c3, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """Two convolutions and the last pool: 24, 8 and 4 pixels wide with 28x28 images."""
        return split_stages(self.features)


class MnistKpu(nn.Module):
    """Two 3x3 convolutions a stage, 16-32-64 channels, pooled between the stages; head, then pool.

    ``[N, in_channels, H, W] -> [N, num_classes, 1, 1]``; under 100,000 parameters.
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
        height, width_px = (side // 4 for side in input_size)
        if height < 4 or width_px < 4:
            raise ModelError(
                f"mnist_kpu needs an input of at least 16x16 pixels (the KPU's smallest map is "
                f"4x4), got {input_size}"
            )
        c1, c2, c3 = (max(1, round(channels * width)) for channels in (16, 32, 64))
        self.features = nn.Sequential(
            ConvBnAct(in_channels, c1, act=act),
            ConvBnAct(c1, c1, act=act),
            nn.MaxPool2d(2),
            ConvBnAct(c1, c2, act=act),
            ConvBnAct(c2, c2, act=act),
            nn.MaxPool2d(2),
            ConvBnAct(c2, c3, act=act),
            ConvBnAct(c3, c3, act=act),
        )
        self.head = ConvHead(c3, num_classes)
        self.pool = FixedAvgPool((height, width_px))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.head(self.features(x)))

    def feature_stages(self) -> list[nn.Sequential]:
        """The pairs of convolutions: reductions 1, 2 and 4."""
        return split_stages(self.features)


_DIGITS = tuple("0123456789")


@register_model(
    ModelSpec(
        task="classification",
        input_size=(28, 28),
        color="gray",
        mean=(33.318,),  # of the 60,000 training images
        std=(78.568,),
        classes=_DIGITS,
        dataset="mnist",
        description="LeNet-like digit network with convolutions instead of linear layers",
        reference="LeCun et al. 1998, widened as in Caffe's MNIST example",
    )
)
def mnist(
    num_classes: int = 10,
    in_channels: int = 1,
    input_size: tuple[int, int] = (28, 28),
    act: Act = "relu",
    width: float = 1.0,
) -> nn.Module:
    """431,640 parameters at the default size; no convolution has a bias."""
    return Mnist(num_classes, in_channels, input_size, act, width)


@register_model(
    ModelSpec(
        task="classification",
        input_size=(28, 28),
        color="gray",
        mean=(0.0,),  # black pads black: the scale folds into the first convolution exactly
        std=(255.0,),
        classes=_DIGITS,
        dataset="mnist",
        description="digit network of 3x3 and 1x1 convolutions, made for the K210's KPU",
        reference="edgeark; VGG-style stages (Simonyan and Zisserman 2014)",
    )
)
def mnist_kpu(
    num_classes: int = 10,
    in_channels: int = 1,
    input_size: tuple[int, int] = (28, 28),
    act: Act = "relu",
    width: float = 1.0,
) -> nn.Module:
    """72,666 parameters at the default size."""
    return MnistKpu(num_classes, in_channels, input_size, act, width)
