"""YOLO11: YOLOv8's plan with lighter blocks and one layer of self-attention on the coarsest map.

Jocher and Qiu, "Ultralytics YOLO11", 2024, defined the layers; this is a reimplementation of that
layout from its published tables. C3k2 is YOLOv8's split block around bottlenecks or around whole
cross-stage partial blocks (Wang et al., CSPNet, 2019). C2PSA is the partial self-attention of
YOLOv10 (Wang et al. 2024): attention (Vaswani et al. 2017) over the places of half the channels.
The class branches are depthwise separable. Neck and heads are those of :mod:`edgeark.zoo.dfl`.

What is chosen for chips:

- queries, keys and values come from three 1x1 convolutions, in place of one that is split; scores
  and sums are batched matrix products of 4-D tensors whose shapes are constants of the graph, and
  the square map of scores, the largest tensor, is never transposed;
- ``attention=False`` leaves the products and the softmax out, for chips that cannot run them (the
  RK3566 runs this softmax on its CPU): what remains is the depthwise 3x3 and the 1x1 behind it. It
  is another network, to be trained as such; weights of the full network do not fit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .dfl import Bottleneck, DflDetector, SplitBlock, check_input_size, dfl_spec, scale_channels
from .layers import SPPF, Act, ConvBnAct
from .registry import register_model
from .spec import ModelSpec

_REPEATS = 2  # of every block at depth 1
_HEAD_CHANNELS = 64  # of one attention head's values; its queries and keys have half as many


class C3k(nn.Module):
    """Half of the channels through 3x3 bottlenecks, half past them; the shape is kept."""

    def __init__(self, channels: int, blocks: int, act: Act) -> None:
        super().__init__()
        hidden = channels // 2
        self.through = ConvBnAct(channels, hidden, 1, act=act)
        self.past = ConvBnAct(channels, hidden, 1, act=act)
        self.blocks = nn.Sequential(*(Bottleneck(hidden, hidden, True, act) for _ in range(blocks)))
        self.mix = ConvBnAct(2 * hidden, channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat((self.blocks(self.through(x)), self.past(x)), 1))


def c3k2(
    in_channels: int, out_channels: int, blocks: int, nested: bool, act: Act, share: float = 0.5
) -> SplitBlock:
    """A split block: ``[N, C, H, W] -> [N, C', H, W]``.

    Args:
        in_channels: ``C``.
        out_channels: ``C'``.
        blocks: how many run one after another.
        nested: each is a :class:`C3k` of two bottlenecks instead of one bottleneck.
        act: the activation.
        share: of ``out_channels`` that run through the blocks.
    """
    hidden = int(out_channels * share)
    inner = [
        C3k(hidden, 2, act) if nested else Bottleneck(hidden, hidden // 2, True, act)
        for _ in range(blocks)
    ]
    return SplitBlock(in_channels, out_channels, hidden, inner, act)


class Attention(nn.Module):
    """Self-attention over the places of a map, plus a depthwise 3x3 of the values.

    ``[N, C, H, W] -> [N, C, H, W]``. Every head has its own softmax over the ``H * W`` places.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads // 2) ** -0.5
        self.query = ConvBnAct(channels, channels // 2, 1, act="none")
        self.key = ConvBnAct(channels, channels // 2, 1, act="none")
        self.value = ConvBnAct(channels, channels, 1, act="none")
        self.position = ConvBnAct(channels, channels, 3, groups=channels, act="none")
        self.project = ConvBnAct(channels, channels, 1, act="none")

    def forward(self, x: Tensor) -> Tensor:
        value = self.value(x)
        parts = (self.query(x) * self.scale, self.key(x), value)
        query, key, values = (self._by_head(part) for part in parts)
        scores = query.transpose(2, 3) @ key  # [N, heads, places, places]
        # rknn-toolkit2 2.5.0 dies of its own fusion where the scores are what is transposed.
        mixed = (scores.softmax(3) @ values.transpose(2, 3)).transpose(2, 3)
        return self.project(mixed.reshape(_sizes(value)) + self.position(value))

    def _by_head(self, x: Tensor) -> Tensor:
        """``[N, heads * C, H, W] -> [N, heads, C, H * W]``."""
        count, channels, height, width = _sizes(x)
        return x.reshape(count, self.heads, channels // self.heads, height * width)


class PositionOnly(nn.Module):
    """:class:`Attention` without its products: ``[N, C, H, W] -> [N, C, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = ConvBnAct(channels, channels, 3, groups=channels, act="none")
        self.project = ConvBnAct(channels, channels, 1, act="none")

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x + self.position(x))


class PsaBlock(nn.Module):
    """Attention, then two 1x1 convolutions, each with a shortcut: ``[N, C, H, W]`` to the same."""

    def __init__(self, channels: int, attention: bool, act: Act) -> None:
        super().__init__()
        heads = max(1, channels // _HEAD_CHANNELS)
        self.attention = Attention(channels, heads) if attention else PositionOnly(channels)
        self.feed = nn.Sequential(
            ConvBnAct(channels, 2 * channels, 1, act=act),
            ConvBnAct(2 * channels, channels, 1, act="none"),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feed(x)


class C2Psa(nn.Module):
    """Half of the channels through attention blocks, half past them; the shape is kept."""

    def __init__(self, channels: int, blocks: int, attention: bool, act: Act) -> None:
        super().__init__()
        hidden = channels // 2
        self.past = ConvBnAct(channels, hidden, 1, act=act)
        self.through = ConvBnAct(channels, hidden, 1, act=act)
        self.blocks = nn.Sequential(*(PsaBlock(hidden, attention, act) for _ in range(blocks)))
        self.mix = ConvBnAct(2 * hidden, channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat((self.past(x), self.blocks(self.through(x))), 1))


class Yolo11(DflDetector):
    """``[N, in_channels, H, W]`` to six maps; see :class:`~edgeark.zoo.dfl.DflDetector`.

    Args:
        num_classes: of each class map.
        in_channels: 1 or 3.
        input_size: height and width; multiples of 32.
        width: factor of all channels.
        depth: factor of the blocks' repeats.
        limit: most channels of a stage, before ``width``.
        nested: every split block holds :class:`C3k` blocks, as in m, l and x; else the deep ones.
        attention: as published; without it the network is of convolutions alone.
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
        nested: bool = False,
        attention: bool = True,
        act: Act = "silu",
    ) -> None:
        check_input_size("YOLO11", input_size)
        c1, c2, c3, c4, c5 = scale_channels(width, limit)
        repeats = max(1, round(_REPEATS * depth))

        def shrink(channels: int, out_channels: int) -> nn.Module:
            return ConvBnAct(channels, out_channels, 3, 2, act=act)

        def narrow(channels: int, out_channels: int) -> nn.Module:
            return c3k2(channels, out_channels, repeats, nested, act, 0.25)

        def shallow(channels: int, out_channels: int) -> nn.Module:
            return c3k2(channels, out_channels, repeats, nested, act)

        def deep(channels: int, out_channels: int) -> nn.Module:
            return c3k2(channels, out_channels, repeats, True, act)

        def class_branch(channels: int, hidden: int) -> nn.Sequential:
            return nn.Sequential(
                ConvBnAct(channels, channels, 3, groups=channels, act=act),
                ConvBnAct(channels, hidden, 1, act=act),
                ConvBnAct(hidden, hidden, 3, groups=hidden, act=act),
                ConvBnAct(hidden, hidden, 1, act=act),
            )

        # A stage's convolution keeps its channels; the block behind the first two doubles them.
        stages = (
            nn.Sequential(shrink(in_channels, c1)),
            nn.Sequential(shrink(c1, c2), narrow(c2, c3)),
            nn.Sequential(shrink(c3, c3), narrow(c3, c4)),
            nn.Sequential(shrink(c4, c4), deep(c4, c4)),
            nn.Sequential(
                *(shrink(c4, c5), deep(c5, c5), SPPF(c5, act)),
                C2Psa(c5, repeats, attention, act),
            ),
        )
        neck = (shallow, shallow, shallow, deep)
        super().__init__(stages, (c4, c4, c5), (c3, c4, c5), neck, class_branch, num_classes, act)


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    """A map's shape as plain numbers, which a trace writes as constants and not as operators."""
    count, channels, height, width = (int(size) for size in x.shape)
    return count, channels, height, width


def _spec(size: str) -> ModelSpec:
    return dfl_spec(
        f"YOLO11{size}: as YOLOv8 with lighter blocks and attention, raw maps",
        "clean reimplementation of the YOLO11 layout (Jocher and Qiu 2024)",
    )


@register_model(_spec("n"))
def yolo11n(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.25,
    depth: float = 0.5,
    **options: Any,
) -> nn.Module:
    """2,624,064 parameters at the default size; ``options`` are :class:`Yolo11`'s."""
    return Yolo11(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("s"))
def yolo11s(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.5,
    depth: float = 0.5,
    **options: Any,
) -> nn.Module:
    """9,458,736 parameters at the default size; ``options`` are :class:`Yolo11`'s."""
    return Yolo11(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("m"))
def yolo11m(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.0,
    depth: float = 0.5,
    limit: int = 512,
    nested: bool = True,
    **options: Any,
) -> nn.Module:
    """20,114,672 parameters at the default size; ``options`` are :class:`Yolo11`'s."""
    return Yolo11(num_classes, in_channels, input_size, width, depth, limit, nested, **options)


@register_model(_spec("l"))
def yolo11l(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.0,
    depth: float = 1.0,
    limit: int = 512,
    nested: bool = True,
    **options: Any,
) -> nn.Module:
    """25,372,144 parameters at the default size; ``options`` are :class:`Yolo11`'s."""
    return Yolo11(num_classes, in_channels, input_size, width, depth, limit, nested, **options)


@register_model(_spec("x"))
def yolo11x(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.5,
    depth: float = 1.0,
    limit: int = 512,
    nested: bool = True,
    **options: Any,
) -> nn.Module:
    """56,966,160 parameters at the default size; ``options`` are :class:`Yolo11`'s."""
    return Yolo11(num_classes, in_channels, input_size, width, depth, limit, nested, **options)
