"""What YOLOv8 and YOLO11 share: the neck, and heads that predict a box as four distributions.

A head has two branches, as in YOLOX (Ge et al. 2021), and no objectness. The box branch gives the
distances from a cell's centre to the left, top, right and bottom side, each as a distribution over
``BINS`` distances of 0, 1, ... cells (Li et al., "Generalized focal loss", 2020). Softmax and the
mean over the bins are the decoder's (:func:`edgeark.zoo.tasks.detection.decode_dfl`): the graph
ends with two raw maps per scale, which are never joined, since int8 has one scale per tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .coco import COCO_CLASSES
from .layers import Act, ConvBnAct
from .spec import ModelSpec

STRIDES = (8, 16, 32)
BINS = 16  # distances that each side of a box is a distribution over

# ``(in_channels, out_channels)`` to a block of the neck that keeps the map's size.
MakeBlock = Callable[[int, int], nn.Module]
# ``(in_channels, channels)`` to the convolutions in front of the class scores.
MakeBranch = Callable[[int, int], nn.Sequential]


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, plus the input where ``shortcut``: ``[N, C, H, W] -> [N, C, H, W]``."""

    def __init__(self, channels: int, hidden: int, shortcut: bool, act: Act) -> None:
        super().__init__()
        self.cv1 = ConvBnAct(channels, hidden, 3, act=act)
        self.cv2 = ConvBnAct(hidden, channels, 3, act=act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class SplitBlock(nn.Module):
    """Half of the channels through ``blocks``, and every intermediate map mixed: ``C -> C'``.

    The published layer is one 1x1 convolution whose output is split. Here each half has a
    convolution of its own: the same weights, sums and parameters, and no Split or Slice, which
    some chips run on the CPU and some runtimes leave their fast memory layout for.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        blocks: Sequence[nn.Module],
        act: Act,
    ) -> None:
        super().__init__()
        self.past = ConvBnAct(in_channels, hidden, 1, act=act)
        self.through = ConvBnAct(in_channels, hidden, 1, act=act)
        self.blocks = nn.ModuleList(blocks)
        self.mix = ConvBnAct((2 + len(self.blocks)) * hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.past(x), self.through(x)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return self.mix(torch.cat(maps, 1))


class DflHead(nn.Module):
    """Box ``[N, 4 * BINS, h, w]`` and classes ``[N, num_classes, h, w]``, both raw logits.

    The box channels are the bins of the left side, then of the top, right and bottom.
    """

    def __init__(self, box: nn.Sequential, classes: nn.Sequential) -> None:
        super().__init__()
        self.box = box
        self.classes = classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.box(x), self.classes(x)


class DflDetector(nn.Module):
    """Backbone of five stages, neck down and up again, one :class:`DflHead` per scale.

    ``[N, in_channels, H, W]`` to six maps: box and classes at stride 8, 16 and 32.

    Args:
        stages: the backbone; each stage halves the map.
        features: channels of the last three stages.
        channels: of the three maps that the heads read.
        neck: makes the blocks of the neck: two on the way down, then two on the way up.
        class_branch: makes the convolutions in front of the class scores.
        num_classes: of each class map.
        act: the activation.
    """

    def __init__(
        self,
        stages: Sequence[nn.Sequential],
        features: tuple[int, int, int],
        channels: tuple[int, int, int],
        neck: Sequence[MakeBlock],
        class_branch: MakeBranch,
        num_classes: int,
        act: Act,
    ) -> None:
        super().__init__()
        b3, b4, b5 = features
        c3, c4, c5 = channels
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = stages
        # Nearest by 2 is the one resize that every target computes alike, and on its NPU.
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.down4 = neck[0](b5 + b4, c4)
        self.down3 = neck[1](c4 + b3, c3)
        self.shrink3 = ConvBnAct(c3, c3, 3, 2, act=act)
        self.up4 = neck[2](c3 + c4, c4)
        self.shrink4 = ConvBnAct(c4, c4, 3, 2, act=act)
        self.up5 = neck[3](c4 + b5, c5)
        box_channels = max(16, c3 // 4, 4 * BINS)
        class_channels = max(c3, min(num_classes, 100))
        self.heads = nn.ModuleList(
            DflHead(
                _box_branch(c, box_channels, act),
                _class_head(class_branch(c, class_channels), class_channels, num_classes, stride),
            )
            for c, stride in zip(channels, STRIDES, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03  # as published weights were trained

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        b3 = self.stage3(self.stage2(self.stage1(x)))
        b4 = self.stage4(b3)
        b5 = self.stage5(b4)
        # Down the pyramid: what the deep maps know is added to the fine ones.
        d4 = self.down4(torch.cat((self.upsample(b5), b4), 1))
        p3 = self.down3(torch.cat((self.upsample(d4), b3), 1))
        # And up again.
        p4 = self.up4(torch.cat((self.shrink3(p3), d4), 1))
        p5 = self.up5(torch.cat((self.shrink4(p4), b5), 1))
        pairs = [head(p) for head, p in zip(self.heads, (p3, p4, p5), strict=True)]
        return tuple(answer for pair in pairs for answer in pair)

    def feature_stages(self) -> list[nn.Sequential]:
        """The backbone: run one after another, the i-th answers with reduction ``2 ** (i + 1)``."""
        return [self.stage1, self.stage2, self.stage3, self.stage4, self.stage5]


def check_input_size(family: str, input_size: tuple[int, int]) -> None:
    """Refuse sides that the strides do not divide.

    Raises:
        ModelError: a side is no positive multiple of 32.
    """
    height, width = input_size
    if any(side < STRIDES[-1] or side % STRIDES[-1] for side in input_size):
        raise ModelError(
            f"{family} needs sides that are multiples of {STRIDES[-1]}, got {height}x{width}"
        )


def scale_channels(width: float, limit: int) -> tuple[int, int, int, int, int]:
    """Channels of the five stages: 64 to 1024, at most ``limit``, times ``width``, in eights."""
    c1, c2, c3, c4, c5 = (
        8 * max(1, math.ceil(min(channels, limit) * width / 8))
        for channels in (64, 128, 256, 512, 1024)
    )
    return c1, c2, c3, c4, c5


def _box_branch(in_channels: int, channels: int, act: Act) -> nn.Sequential:
    last = nn.Conv2d(channels, 4 * BINS, 1)
    nn.init.constant_(last.get_parameter("bias"), 1.0)
    return nn.Sequential(
        ConvBnAct(in_channels, channels, 3, act=act),
        ConvBnAct(channels, channels, 3, act=act),
        last,
    )


def _class_head(
    branch: nn.Sequential, channels: int, num_classes: int, stride: int
) -> nn.Sequential:
    """The branch and a 1x1 whose biases start at the odds of an object, as in RetinaNet (2017)."""
    last = nn.Conv2d(channels, num_classes, 1)
    prior = 5 / num_classes / (640 / stride) ** 2  # five objects an image of 640x640
    nn.init.constant_(last.get_parameter("bias"), math.log(prior / (1 - prior)))
    return nn.Sequential(*branch, last)


def dfl_spec(description: str, reference: str) -> ModelSpec:
    """The spec that every size of both families starts from."""
    return ModelSpec(
        task="detection",
        input_size=(640, 640),
        color="rgb",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        classes=COCO_CLASSES,
        dataset="coco",
        description=description,
        reference=reference,
        strides=STRIDES,
        head="dfl",
    )
