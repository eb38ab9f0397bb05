"""YOLOv5: a one-stage detector with anchors, the v6 layout, in Python that can be stepped through.

Jocher et al., "YOLOv5 by Ultralytics", 2020 to 2022, defined the layers; this is a reimplementation
of that layout. The parts are older: C3 is the cross-stage partial block of Wang et al. (CSPNet,
2019) with three convolutions, the neck is the path aggregation of Liu et al. (PANet, 2018), spatial
pyramid pooling is He et al.'s (2014).

The network ends in three raw maps ``[N, na * (5 + num_classes), H / s, W / s]`` for the strides
``s`` = 8, 16 and 32. They are never concatenated or reshaped: one int8 scale for boxes and scores
ruins both, and a Reshape falls to the CPU on some chips. A decoder outside the graph does the rest.

What is right on one chip is wrong on another, so some layers are arguments:

- ``stem="6x6"`` (one convolution) suits ncnn, OpenCV and RKNN; the K210 needs ``"3x3"``, or
  ``export --rewrite``, which makes two 3x3 ones of it. ``"focus"`` (four slices, then 3x3) is that
  of v5 and older weights; it computes what a 6x6 convolution can (:func:`focus_to_conv6x6`).
- ``pool="sppf"`` and ``"spp"`` are the same function with the same weights; on RKNN the former is
  safe on more sizes of the last map (:class:`~edgeark.zoo.layers.SPPF`).
- ``layout="v5"`` has the blocks of releases 4 and 5: nine instead of six in the third stage, and
  the pyramid pooling in front of the last C3, which has no shortcuts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .coco import COCO_CLASSES
from .layers import SPP, SPPF, Act, ConvBnAct
from .registry import create_model, register_model
from .spec import ModelSpec, spec_of
from .stems import Focus, Stem, make_stem, unfold_focus

Pool = Literal["sppf", "spp"]
Layout = Literal["v6", "v5"]
Anchors = tuple[tuple[tuple[float, float], ...], ...]  # scale, anchor, (width, height) in pixels

STRIDES = (8, 16, 32)
COCO_ANCHORS: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
# C3 blocks of the backbone's stages 2 to 5 at depth 1; the neck has 3 in each of its four.
_BLOCKS: dict[Layout, tuple[int, int, int, int]] = {"v6": (3, 6, 9, 3), "v5": (3, 9, 9, 3)}
_NECK_BLOCKS = 3


class Bottleneck(nn.Module):
    """1x1, then 3x3, plus the input where ``shortcut``: ``[N, C, H, W] -> [N, C, H, W]``."""

    def __init__(self, channels: int, shortcut: bool, act: Act) -> None:
        super().__init__()
        self.cv1 = ConvBnAct(channels, channels, 1, act=act)
        self.cv2 = ConvBnAct(channels, channels, 3, act=act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Half of the channels through ``blocks`` bottlenecks, half past them: ``C -> C'`` channels."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, shortcut: bool, act: Act
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.cv1 = ConvBnAct(in_channels, hidden, 1, act=act)
        self.cv2 = ConvBnAct(in_channels, hidden, 1, act=act)
        self.cv3 = ConvBnAct(2 * hidden, out_channels, 1, act=act)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut, act) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class YoloV5(nn.Module):
    """Backbone of five stages, neck down and up again, three 1x1 heads.

    ``[N, in_channels, H, W]`` to three maps ``[N, na * (5 + num_classes), H / s, W / s]``: for each
    of the ``na`` anchors x, y, width, height, object and the classes, as logits.

    ``anchors`` (``[3, na, 2]``, pixels) and ``strides`` are buffers, so they travel with the state
    dict. The spec is their one source: a state dict that says otherwise is refused, since a decoder
    reads the spec.
    """

    anchors: Tensor
    strides: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        width: float,
        depth: float,
        anchors: Anchors = COCO_ANCHORS,
        strides: tuple[int, ...] = STRIDES,
        act: Act = "silu",
        stem: Stem = "6x6",
        pool: Pool = "sppf",
        layout: Layout = "v6",
    ) -> None:
        super().__init__()
        _check_maps(input_size, anchors, strides)
        c1, c2, c3, c4, c5 = (_scaled(channels, width) for channels in (64, 128, 256, 512, 1024))
        n2, n3, n4, n5 = (_repeats(blocks, depth) for blocks in _named(_BLOCKS, "layout", layout))
        neck = _repeats(_NECK_BLOCKS, depth)
        pyramid = _named({"sppf": SPPF, "spp": SPP}, "pool", pool)(c5, act)
        deepest = C3(c5, c5, n5, layout == "v6", act)

        self.stage1 = nn.Sequential(make_stem(stem, in_channels, c1, act))
        self.stage2 = nn.Sequential(ConvBnAct(c1, c2, 3, 2, act=act), C3(c2, c2, n2, True, act))
        self.stage3 = nn.Sequential(ConvBnAct(c2, c3, 3, 2, act=act), C3(c3, c3, n3, True, act))
        self.stage4 = nn.Sequential(ConvBnAct(c3, c4, 3, 2, act=act), C3(c4, c4, n4, True, act))
        self.stage5 = nn.Sequential(
            ConvBnAct(c4, c5, 3, 2, act=act),
            *((deepest, pyramid) if layout == "v6" else (pyramid, deepest)),
        )
        # Nearest by 2 is the one resize that every target computes alike, and on its NPU.
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.lateral5 = ConvBnAct(c5, c4, 1, act=act)
        self.down4 = C3(2 * c4, c4, neck, False, act)
        self.lateral4 = ConvBnAct(c4, c3, 1, act=act)
        self.down3 = C3(2 * c3, c3, neck, False, act)
        self.shrink3 = ConvBnAct(c3, c3, 3, 2, act=act)
        self.up4 = C3(2 * c3, c4, neck, False, act)
        self.shrink4 = ConvBnAct(c4, c4, 3, 2, act=act)
        self.up5 = C3(2 * c4, c5, neck, False, act)
        self.heads = nn.ModuleList(
            _make_head(channels, len(anchors[0]), num_classes, stride)
            for channels, stride in zip((c3, c4, c5), strides, strict=True)
        )
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32))
        self.register_buffer("strides", torch.tensor(strides))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03  # as published weights were trained

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.stage3(self.stage2(self.stage1(x)))
        c4 = self.stage4(c3)
        c5 = self.stage5(c4)
        # Down the pyramid: what the deep maps know is added to the fine ones.
        lateral5 = self.lateral5(c5)
        lateral4 = self.lateral4(self.down4(torch.cat((self.upsample(lateral5), c4), 1)))
        p3 = self.down3(torch.cat((self.upsample(lateral4), c3), 1))
        # And up again.
        p4 = self.up4(torch.cat((self.shrink3(p3), lateral4), 1))
        p5 = self.up5(torch.cat((self.shrink4(p4), lateral5), 1))
        return self.heads[0](p3), self.heads[1](p4), self.heads[2](p5)

    def feature_stages(self) -> list[nn.Sequential]:
        """The backbone: run one after another, the i-th answers with reduction ``2 ** (i + 1)``."""
        return [self.stage1, self.stage2, self.stage3, self.stage4, self.stage5]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name, own in self.named_buffers(recurse=False):
            found = state_dict.get(prefix + name)
            if found is None or found.is_meta or own.is_meta:
                continue
            if found.shape != own.shape or not torch.equal(own.to(found), found):
                error_msgs.append(
                    f"its {name} are {found.tolist()}, the network's {own.tolist()}; build the "
                    "network by create_model(name, weights=FILE), or with spec={'anchors': ...}"
                )
            state_dict[prefix + name] = own  # the file's may be of half precision
        lists = (missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)


def _check_maps(input_size: tuple[int, int], anchors: Anchors, strides: tuple[int, ...]) -> None:
    if any(side < STRIDES[-1] or side % STRIDES[-1] for side in input_size):
        raise ModelError(
            f"a YOLOv5 needs sides that are multiples of {STRIDES[-1]}, "
            f"got {input_size[0]}x{input_size[1]}"
        )
    if tuple(strides) != STRIDES:
        raise ModelError(f"a YOLOv5 has the strides {STRIDES}, the spec says {tuple(strides)}")
    counts = [len(scale) for scale in anchors]
    pairs = [pair for scale in anchors for pair in scale]
    if counts != [len(pairs) / 3] * 3 or not all(len(p) == 2 and min(p) > 0 for p in pairs):
        raise ModelError(
            "a YOLOv5 needs three scales of equally many anchors (width, height) in pixels"
        )


def _named(choices: Mapping[Any, Any], what: str, name: str) -> Any:
    if name not in choices:
        raise ModelError(f"unknown {what} {name!r}; use one of {', '.join(choices)}")
    return choices[name]


def _scaled(channels: int, width: float) -> int:
    """The next multiple of 8."""
    return 8 * max(1, math.ceil(channels * width / 8))


def _repeats(blocks: int, depth: float) -> int:
    return max(1, round(blocks * depth))


@torch.no_grad()
def _make_head(in_channels: int, num_anchors: int, num_classes: int, stride: int) -> nn.Conv2d:
    """A 1x1 convolution whose biases start at the odds of an object, as in RetinaNet (2017).

    Eight objects an image of 640x640 at each scale, and ``num_classes`` to 1 against each class:
    without it the first steps unlearn thousands of false objects.
    """
    head = nn.Conv2d(in_channels, num_anchors * (5 + num_classes), 1)
    assert head.bias is not None
    bias = head.bias.view(num_anchors, 5 + num_classes)
    prior = 8 / (640 / stride) ** 2
    bias[:, 4] = math.log(prior / (1 - prior))
    bias[:, 5:] = -math.log(num_classes)
    return head


@torch.no_grad()
def focus_to_conv6x6(model: nn.Module) -> nn.Module:
    """A copy of a network with ``stem="focus"`` whose stem is one 6x6 convolution of stride 2.

    It answers alike (:func:`~edgeark.zoo.stems.unfold_focus`).

    Raises:
        ModelError: the model has no focus stem, or is none of :func:`create_model`.
    """
    spec = spec_of(model)
    if not isinstance(model, YoloV5) or not isinstance(model.stage1[0], Focus):
        raise ModelError(f"{type(model).__name__} has no focus stem to rewrite")
    state = model.state_dict()
    name = "stage1.0.conv.weight"
    weight = unfold_focus(state[name])
    arguments = {**spec.arguments, "stem": "6x6"}
    fields = {**vars(spec), "arguments": arguments}
    rewritten = create_model(str(model.name), spec=fields).to(weight)
    rewritten.load_state_dict({**state, name: weight})
    return rewritten.train(model.training)


def _spec(size: str) -> ModelSpec:
    return ModelSpec(
        task="detection",
        input_size=(640, 640),
        color="rgb",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        classes=COCO_CLASSES,
        dataset="coco",
        description=f"YOLOv5{size}: anchors at three scales, raw maps; stem='3x3' for the K210",
        reference="clean reimplementation of the YOLOv5 v6 layout (Jocher et al. 2020-2022)",
        strides=STRIDES,
        anchors=COCO_ANCHORS,
        head="yolov5",
    )


@register_model(_spec("n"))
def yolov5n(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.25,
    depth: float = 0.33,
    **options: Any,
) -> nn.Module:
    """1,872,157 parameters at the default size; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, **options)


@register_model(replace(_spec("n"), description="yolov5n with ReLU, for chips where SiLU costs"))
def yolov5n_relu(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.25,
    depth: float = 0.33,
    act: Act = "relu",
    **options: Any,
) -> nn.Module:
    """As ``yolov5n``; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, act=act, **options)


@register_model(_spec("s"))
def yolov5s(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.5,
    depth: float = 0.33,
    **options: Any,
) -> nn.Module:
    """7,235,389 parameters at the default size; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("m"))
def yolov5m(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 0.75,
    depth: float = 0.67,
    **options: Any,
) -> nn.Module:
    """21,190,557 parameters at the default size; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("l"))
def yolov5l(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.0,
    depth: float = 1.0,
    **options: Any,
) -> nn.Module:
    """46,563,709 parameters at the default size; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, **options)


@register_model(_spec("x"))
def yolov5x(
    num_classes: int = 80,
    in_channels: int = 3,
    input_size: tuple[int, int] = (640, 640),
    width: float = 1.25,
    depth: float = 1.33,
    **options: Any,
) -> nn.Module:
    """86,749,405 parameters at the default size; ``options`` are :class:`YoloV5`'s."""
    return YoloV5(num_classes, in_channels, input_size, width, depth, **options)
