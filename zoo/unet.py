"""UNet: an encoder that halves the map four times, a decoder that doubles it back, and skips.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation",
2015. Layers and channels are those of the PyTorch port in widest use, so that its checkpoints load
(``importers.unet``): the 3x3 convolutions are padded, which makes the mask as large as the image,
and have batch normalisation in place of a bias.

What differs between chips is how the decoder doubles a map; ``upsample`` chooses it:

- ``nearest`` is right on every chip, and the default;
- ``bilinear`` and ``bilinear_ac`` (corners aligned) are for checkpoints that were trained so;
- ``transpose`` learns it: a transposed convolution, 2x2 with stride 2, and a wider network around
  it, as in the port. The K210 cannot compile it.

A network is built for one input size, and every size in its graph is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .layers import Act, ConvBnAct, FixedUpsample, check_size
from .registry import register_model
from .spec import ModelSpec

Upsample = Literal["nearest", "bilinear", "bilinear_ac", "transpose"]

_MULTIPLES = (1, 2, 4, 8)  # of the base channels, at reductions 1, 2, 4 and 8
_DEEPEST, _DEEPEST_TRANSPOSED = 8, 16  # at reduction 16


def _double_conv(in_channels: int, hidden: int, out_channels: int, act: Act) -> list[nn.Module]:
    return [ConvBnAct(in_channels, hidden, act=act), ConvBnAct(hidden, out_channels, act=act)]


class UpStep(nn.Module):
    """Double the deep map, put it behind the skip's channels, two 3x3 convolutions.

    ``[N, C, h, w]`` and ``[N, C', 2h, 2w]`` to ``[N, out_channels, 2h, 2w]``.
    """

    def __init__(
        self, up: nn.Module, in_channels: int, hidden: int, out_channels: int, act: Act
    ) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Sequential(*_double_conv(in_channels, hidden, out_channels, act))

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(deep)], dim=1))


class UNetDecoder(nn.Module):
    """An encoder's maps, finest first, merged into one of the finest map's size.

    ``[[N, C0, h, w], [N, C1, h/2, w/2], ...] -> [N, out_channels, h, w]`` with ``out_channels`` as
    many as the finest map has. Any encoder will do whose maps halve from one to the next: the
    first may be the image's size or a fraction of it.

    Args:
        encoder_channels: channels of the maps, finest first; two maps or more.
        finest_size: ``(h, w)`` of the first map.
        act: the activation.
        upsample: how a map is doubled.
        slim: the first convolution of an interpolating step has half as many channels as its
            input; with ``slim`` it has those of the step's output, as in the port's early files.
            A slim ``transpose`` keeps the channels of what it doubles.

    Raises:
        ModelError: sides that cannot be halved so often, or an unknown way to double a map.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        finest_size: tuple[int, int],
        act: Act = "relu",
        upsample: Upsample = "nearest",
        slim: bool = False,
    ) -> None:
        super().__init__()
        if upsample not in get_args(Upsample):
            names = ", ".join(get_args(Upsample))
            raise ModelError(f"unknown upsampling {upsample!r}; use one of {names}")
        halvings = len(encoder_channels) - 1
        if halvings < 1 or any(side < 1 or side % 2**halvings for side in finest_size):
            raise ModelError(
                f"a UNet of {halvings + 1} maps needs sides that are multiples of {2**halvings}, "
                f"got {finest_size[0]}x{finest_size[1]}"
            )
        steps = []
        channels = encoder_channels[-1]
        for i in reversed(range(halvings)):
            skip, finer = encoder_channels[i], encoder_channels[max(i - 1, 0)]
            if slim:
                doubled, hidden, out_channels = channels, finer, finer
            elif upsample == "transpose":
                doubled, hidden, out_channels = skip, skip, skip
            else:
                doubled, hidden, out_channels = channels, (skip + channels) // 2, finer
            if upsample == "transpose":
                up = nn.ConvTranspose2d(channels, doubled, 2, stride=2)
            else:
                up = FixedUpsample((finest_size[0] >> (i + 1), finest_size[1] >> (i + 1)), upsample)
            steps.append(UpStep(up, skip + doubled, hidden, out_channels, act))
            channels = out_channels
        self.steps = nn.ModuleList(steps)  # deepest first
        self.out_channels = channels

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        *skips, x = maps
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(x, skip)
        return x


class UNet(nn.Module):
    """``[N, in_channels, H, W] -> [N, num_classes, H, W]``: logits for every pixel.

    One class: the sigmoid's logit, a pixel belongs to it where the logit is over 0. Several: the
    largest logit wins.

    Raises:
        ModelError: a side of ``input_size`` is no multiple of 16.
        ValueError: for an image of another size, save in training: that may begin with small ones.
    """

    def __init__(
        self,
        base_channels: int,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        act: Act,
        width: float,
        upsample: Upsample,
        slim: bool,
    ) -> None:
        super().__init__()
        self.input_size = tuple(input_size)
        wide = upsample == "transpose" and not slim
        multiples = (*_MULTIPLES, _DEEPEST_TRANSPOSED if wide else _DEEPEST)
        channels = [max(1, round(base_channels * multiple * width)) for multiple in multiples]
        before = in_channels
        stages = []
        for i, after in enumerate(channels):
            pool = [nn.MaxPool2d(2)] if i > 0 else []
            stages.append(nn.Sequential(*pool, *_double_conv(before, after, after, act)))
            before = after
        self.encoder = nn.ModuleList(stages)
        self.decoder = UNetDecoder(channels, input_size, act, upsample, slim)
        self.head = nn.Conv2d(self.decoder.out_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            check_size(x, self.input_size, "image")
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return self.head(self.decoder(maps))

    def feature_stages(self) -> list[nn.Sequential]:
        """The encoder in five parts, one after another: reductions 1, 2, 4, 8 and 16."""
        return cast("list[nn.Sequential]", list(self.encoder))


_PAPER = "Ronneberger, Fischer and Brox 2015"


@register_model(
    ModelSpec(
        task="segmentation",
        input_size=(544, 544),
        color="rgb",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        classes=("foreground",),
        dataset="carvana",  # the port's own; nothing of edgeark's is trained on it
        description="UNet with the paper's 64 base channels",
        reference=f"{_PAPER}, padded and with batch normalisation",
    )
)
def unet(
    num_classes: int = 1,
    in_channels: int = 3,
    input_size: tuple[int, int] = (544, 544),
    act: Act = "relu",
    width: float = 1.0,
    upsample: Upsample = "nearest",
    slim: bool = False,
) -> nn.Module:
    """17,262,977 parameters; 13,391,361 with ``slim``, 31,037,633 with ``transpose``."""
    return UNet(64, num_classes, in_channels, input_size, act, width, upsample, slim)


def _small_spec(base_channels: int) -> ModelSpec:
    return ModelSpec(
        task="segmentation",
        input_size=(224, 224),
        color="gray",
        mean=(0.0,),  # black pads black: the scale folds into the first convolution
        std=(255.0,),
        classes=("defect",),
        dataset="magnetic_tile",
        description=f"UNet with {base_channels} base channels, for surface inspection",
        reference=f"{_PAPER}, narrowed",
    )


@register_model(_small_spec(8))
def unet_8(
    num_classes: int = 1,
    in_channels: int = 1,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    upsample: Upsample = "nearest",
    slim: bool = False,
) -> nn.Module:
    """270,753 parameters. For the K210: ``nearest`` alone (docs/unet.md)."""
    return UNet(8, num_classes, in_channels, input_size, act, width, upsample, slim)


@register_model(_small_spec(16))
def unet_16(
    num_classes: int = 1,
    in_channels: int = 1,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    upsample: Upsample = "nearest",
    slim: bool = False,
) -> nn.Module:
    """1,080,641 parameters."""
    return UNet(16, num_classes, in_channels, input_size, act, width, upsample, slim)


@register_model(_small_spec(32))
def unet_32(
    num_classes: int = 1,
    in_channels: int = 1,
    input_size: tuple[int, int] = (224, 224),
    act: Act = "relu",
    width: float = 1.0,
    upsample: Upsample = "nearest",
    slim: bool = False,
) -> nn.Module:
    """4,317,825 parameters."""
    return UNet(32, num_classes, in_channels, input_size, act, width, upsample, slim)
