"""YOLOv8: an anchor-free one-stage detector, in Python that can be stepped through.

Jocher et al., "Ultralytics YOLOv8", 2023, defined the layers; this is a reimplementation of that
layout from its published tables. The parts are older: C2f is a cross-stage partial block (Wang et
al., CSPNet, 2019) that keeps every intermediate map, as ELAN does (Wang et al. 2022); the neck is
the path aggregation of Liu et al. (PANet, 2018); the heads are in :mod:`edgeark.zoo.dfl`.

The network ends in six raw maps, box distributions and classes for the strides 8, 16 and 32.
The published counts of parameters are larger by 16: they include the bins 0 to 15, as constants.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .dfl import Bottleneck, DflDetector, SplitBlock, check_input_size, dfl_spec, scale_channels
from .layers import SPPF, Act, ConvBnAct
from .registry import register_model
from .spec import ModelSpec

# Blocks of the backbone's stages 2 to 5 at depth 1; the neck has 3 in each of its four.
_BLOCKS = (3, 6, 6, 3)
_NECK_BLOCKS = 3


def c2f(in_channels: int, out_channels: int, blocks: int, shortcut: bool, act: Act) -> SplitBlock:
    """A split block of 3x3 bottlenecks: ``[N, C, H, W] -> [N, C', H, W]``."""
    hidden = out_channels // 2
    bottlenecks = [Bottleneck(hidden, hidden, shortcut, act) for _ in range(blocks)]
    return SplitBlock(in_channels, out_channels, hidden, bottlenecks, act)


class YoloV8(DflDetector):
    """``[N, in_channels, H, W]`` to six maps; see :class:`~edgeark.zoo.dfl.DflDetector`.

    Args:
        num_classes: of each class map.
        in_channels: 1 or 3.
        input_size: height and width; multiples of 32.
        width: factor of all channels.
        depth: factor of the blocks' repeats.
        limit: most channels of a stage, before ``width``.
        act: the activation.

    Raises:
        ModelError: a side of the input is no multiple of 32.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        width: float,
        depth: float,
        limit: int = 1024,
        act: Act = "silu",
    ) -> None:
        check_input_size("YOLOv8", input_size)
        c1, c2, c3, c4, c5 = scale_channels(width, limit)
        n2, n3, n4, n5, neck = (max(1, round(n * depth)) for n in (*_BLOCKS, _NECK_BLOCKS))

        def stage(channels: int, out_channels: int, blocks: int) -> list[nn.Module]:
            shrink = ConvBnAct(channels, out_channels, 3, 2, act=act)
            return [shrink, c2f(out_channels, out_channels, blocks, True, act)]

        def mix(channels: int, out_channels: int) -> nn.Module:
            return c2f(channels, out_channels, neck, False, act)

        def class_branch(channels: int, hidden: int) -> nn.Sequential:
            return nn.Sequential(
                ConvBnAct(channels, hidden, 3, act=act), ConvBnAct(hidden, hidden, 3, act=act)
            )

        stages = (
            nn.Sequential(ConvBnAct(in_channels, c1, 3, 2, act=act)),
            nn.Sequential(*stage(c1, c2, n2)),
            nn.Sequential(*stage(c2, c3, n3)),
            nn.Sequential(*stage(c3, c4, n4)),
            nn.Sequential(*stage(c4, c5, n5), SPPF(c5, act)),
        )
        super().__init__(
            stages, (c3, c4, c5), (c3, c4, c5), (mix,) * 4, class_branch, num_classes, act
        )


def _spec(size: str) -> ModelSpec:
    return dfl_spec(
        f"YOLOv8{size}: anchor-free, box distributions and classes at three scales, raw maps",
        "clean reimplementation of the YOLOv8 layout (Jocher et al. 2023)",
    )


@register_model(_spec("n"))
def yolov8n(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.25,
    depth: float = 0.33,
    **options: Any,
) -> nn.Module:
    """3,157,184 parameters at the default size; ``options`` are :class:`YoloV8`'s."""
    return YoloV8(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("s"))
def yolov8s(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.5,
    depth: float = 0.33,
    **options: Any,
) -> nn.Module:
    """11,166,544 parameters at the default size; ``options`` are :class:`YoloV8`'s."""
    return YoloV8(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("m"))
def yolov8m(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.75,
    depth: float = 0.67,
    limit: int = 768,
    **options: Any,
) -> nn.Module:
    """25,902,624 parameters at the default size; ``options`` are :class:`YoloV8`'s."""
    return YoloV8(num_classes, in_channels, input_size, width, depth, limit, **options)


@register_model(_spec("l"))
def yolov8l(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.0,
    depth: float = 1.0,
    limit: int = 512,
    **options: Any,
) -> nn.Module:
    """43,691,504 parameters at the default size; ``options`` are :class:`YoloV8`'s."""
    return YoloV8(num_classes, in_channels, input_size, width, depth, limit, **options)


@register_model(_spec("x"))
def yolov8x(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.25,
    depth: float = 1.0,
    limit: int = 512,
    **options: Any,
) -> nn.Module:
    """68,229,632 parameters at the default size; ``options`` are :class:`YoloV8`'s."""
    return YoloV8(num_classes, in_channels, input_size, width, depth, limit, **options)
