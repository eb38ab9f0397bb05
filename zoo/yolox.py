"""YOLOX-nano: an anchor-free detector of depthwise convolutions.

Ge et al., "YOLOX: exceeding YOLO series in 2021" (arXiv 2107.08430). A backbone of cross-stage
partial layers (Wang et al. 2019), a feature pyramid that is read upwards and downwards (Liu et al.
2018), and on each of its three maps a head whose classes and boxes come from separate branches.
Every 3x3 convolution but the stem is depthwise and followed by a 1x1. What is chosen for chips:

- the graph ends with nine raw maps, three a stride: box, objectness, classes. They are never
  concatenated: a box reaches hundreds where a logit stays near zero, and int8 has one scale a
  tensor. Sigmoid, grid and NMS are the decoder's (:mod:`edgeark.zoo.tasks.detection`);
- the stem is one 6x6 convolution of stride 2 instead of the paper's space-to-depth and 3x3: the
  same sum, and no strided slices. ``stem="focus"`` is the original, ``"3x3"`` another network for
  chips without 6x6 kernels;
- the pyramid pooling of 5x5, 9x9 and 13x13 windows is three 5x5 pools one after another (as YOLOv5
  does it): the maximum of maxima is the same, and NPUs end at small windows;
- upsampling is nearest by 2, which is right on every chip.

The input is BGR in 0..255, neither scaled nor shifted, as the published weights want it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .coco import COCO_CLASSES
from .layers import SPPF, Act, ConvBnAct
from .registry import register_model
from .spec import ModelSpec
from .stems import Stem, make_stem

_STRIDES = (8, 16, 32)
_PRIOR = 0.01  # the score that an untrained head gives every place (Lin et al. 2017, focal loss)


def _separable(in_channels: int, out_channels: int, stride: int, act: Act) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1, each with normalisation and activation."""
    return nn.Sequential(
        ConvBnAct(in_channels, in_channels, 3, stride, groups=in_channels, act=act),
        ConvBnAct(in_channels, out_channels, 1, act=act),
    )


class Bottleneck(nn.Module):
    """1x1, then depthwise 3x3 and 1x1, ``[N, C, H, W] -> [N, C, H, W]``; plus the input or not."""

    def __init__(self, channels: int, shortcut: bool, act: Act) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBnAct(channels, channels, 1, act=act), _separable(channels, channels, 1, act)
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.shortcut else y


class CspLayer(nn.Module):
    """Half of the channels through bottlenecks, half past them: ``[N, C, H, W] -> [N, C', H, W]``.

    Each half is a 1x1 of all inputs; a 1x1 mixes them again.
    """

    def __init__(
        self, in_channels: int, out_channels: int, repeats: int, shortcut: bool, act: Act
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.through = ConvBnAct(in_channels, hidden, 1, act=act)
        self.past = ConvBnAct(in_channels, hidden, 1, act=act)
        self.blocks = nn.Sequential(*(Bottleneck(hidden, shortcut, act) for _ in range(repeats)))
        self.mix = ConvBnAct(2 * hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat([self.blocks(self.through(x)), self.past(x)], 1))


def _make_backbone(
    in_channels: int, base: int, repeats: int, stem: Stem, act: Act
) -> nn.ModuleList:
    """Five parts, each halving the map; the i-th has ``base * 2**i`` channels."""

    def part(channels: int, blocks: int) -> nn.Sequential:
        return nn.Sequential(
            _separable(channels, 2 * channels, 2, act),
            CspLayer(2 * channels, 2 * channels, blocks, True, act),
        )

    last = nn.Sequential(
        _separable(8 * base, 16 * base, 2, act),
        SPPF(16 * base, act),
        CspLayer(16 * base, 16 * base, repeats, False, act),
    )
    return nn.ModuleList(
        [
            nn.Sequential(make_stem(stem, in_channels, base, act)),
            part(base, repeats),
            part(2 * base, 3 * repeats),
            part(4 * base, 3 * repeats),
            last,
        ]
    )


class Neck(nn.Module):
    """The path aggregation network: three maps in, three maps of the same shapes out.

    First from the coarse map down to the fine one, then back up, so that each sees all three.
    """

    def __init__(self, channels: tuple[int, int, int], repeats: int, act: Act) -> None:
        super().__init__()
        fine, middle, coarse = channels

        def mix(in_channels: int, out_channels: int) -> CspLayer:
            return CspLayer(in_channels, out_channels, repeats, False, act)

        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.squeeze_coarse = ConvBnAct(coarse, middle, 1, act=act)
        self.down_middle = mix(2 * middle, middle)
        self.squeeze_middle = ConvBnAct(middle, fine, 1, act=act)
        self.down_fine = mix(2 * fine, fine)
        self.shrink_fine = _separable(fine, fine, 2, act)
        self.up_middle = mix(2 * fine, middle)
        self.shrink_middle = _separable(middle, middle, 2, act)
        self.up_coarse = mix(2 * middle, coarse)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        from_coarse = self.squeeze_coarse(coarse)
        x = self.down_middle(torch.cat([self.upsample(from_coarse), middle], 1))
        from_middle = self.squeeze_middle(x)
        fine = self.down_fine(torch.cat([self.upsample(from_middle), fine], 1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), from_middle], 1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), from_coarse], 1))
        return fine, middle, coarse


class Head(nn.Module):
    """Box ``[N, 4, h, w]``, objectness ``[N, 1, h, w]`` and classes ``[N, num_classes, h, w]``.

    All raw. The box and the objectness share a branch, the classes have their own.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int, act: Act) -> None:
        super().__init__()

        def branch() -> nn.Sequential:
            return nn.Sequential(*(_separable(channels, channels, 1, act) for _ in range(2)))

        self.stem = ConvBnAct(in_channels, channels, 1, act=act)
        self.box_branch = branch()
        self.class_branch = branch()
        self.box = nn.Conv2d(channels, 4, 1)
        self.objectness = nn.Conv2d(channels, 1, 1)
        self.classes = nn.Conv2d(channels, num_classes, 1)
        for convolution in (self.objectness, self.classes):
            nn.init.constant_(convolution.get_parameter("bias"), -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        boxes = self.box_branch(x)
        return self.box(boxes), self.objectness(boxes), self.classes(self.class_branch(x))


class YoloX(nn.Module):
    """``[N, in_channels, H, W]`` to nine maps: box, objectness, classes at stride 8, 16 and 32.

    Raises:
        ModelError: a side of the input is no multiple of 32, or the width leaves no channel.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        act: Act,
        width: float,
        depth: float,
        stem: Stem,
    ) -> None:
        super().__init__()
        if any(side % _STRIDES[-1] or side <= 0 for side in input_size):
            raise ModelError(
                f"YOLOX needs sides that are multiples of 32, got {input_size[0]}x{input_size[1]}"
            )
        base, repeats = int(64 * width), max(1, round(3 * depth))
        if base < 1:
            raise ModelError(f"width={width}: YOLOX needs at least 1/64 of its channels")
        channels = (4 * base, 8 * base, 16 * base)
        self.stem_kind = stem
        self.backbone = _make_backbone(in_channels, base, repeats, stem, act)
        self.neck = Neck(channels, repeats, act)
        self.heads = nn.ModuleList(Head(c, 4 * base, num_classes, act) for c in channels)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03  # the authors'; published weights need eps

    def feature_stages(self) -> list[nn.Sequential]:
        """The backbone in parts to be run one after another; each halves its input's sides."""
        return [stage for stage in self.backbone if isinstance(stage, nn.Sequential)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = []
        for stage in self.backbone:
            x = stage(x)
            features.append(x)
        maps = self.neck(*features[-3:])
        answers = [head(x) for head, x in zip(self.heads, maps, strict=True)]
        return tuple(answer for trio in answers for answer in trio)


@register_model(
    ModelSpec(
        task="detection",
        input_size=(416, 416),
        color="bgr",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        classes=COCO_CLASSES,
        dataset="coco",
        description="YOLOX-nano: anchor-free detector of depthwise convolutions, nine raw maps",
        reference="Ge et al. 2021",
        strides=_STRIDES,
        head="yolox",
    )
)
def yolox_nano(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (416, 416),
    act: Act = "silu",
    width: float = 0.25,
    depth: float = 0.33,
    stem: Stem = "6x6",
) -> nn.Module:
    """912,159 parameters and 522.6 M MACs at the default size."""
    return YoloX(num_classes, in_channels, input_size, act, width, depth, stem)
