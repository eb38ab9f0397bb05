"""Modules with the layout of Ultralytics' YOLOv8n and YOLO11n files, written here.

Only what a file shows is theirs: module paths, class and attribute names, and the numbering.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from support.ultralytics_fakes import SPPF, STRIDES, Concat, Conv, Places

BINS = 16


class Bottleneck(nn.Module):
    def __init__(self, c: int, hidden: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, hidden, 3), Conv(hidden, c, 3), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C2f(nn.Module):
    def __init__(self, c1: int, c2: int, hidden: int, inner: list[nn.Module]) -> None:
        super().__init__()
        self.c, self.m = hidden, nn.ModuleList(inner)
        self.cv1, self.cv2 = Conv(c1, 2 * hidden), Conv((2 + len(inner)) * hidden, c2)

    def forward(self, x: Tensor) -> Tensor:
        maps = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            maps.append(block(maps[-1]))
        return self.cv2(torch.cat(maps, 1))


class C3k2(C2f):
    pass


class C3k(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.cv1, self.cv2, self.cv3 = Conv(c, h), Conv(c, h), Conv(2 * h, c)
        self.m = nn.Sequential(*[Bottleneck(h, h, True) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


def _linear(c1: int, c2: int, k: int = 1, groups: int = 1) -> Conv:
    conv = Conv(c1, c2, k)
    conv.conv = nn.Conv2d(c1, c2, k, 1, k // 2, groups=groups, bias=False)
    conv.act = nn.Identity()  # type: ignore[assignment]
    return conv


class DWConv(Conv):
    def __init__(self, c: int) -> None:
        super().__init__(c, c, 3)
        self.conv = nn.Conv2d(c, c, 3, 1, 1, groups=c, bias=False)


class Attention(nn.Module):
    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.key_dim = heads, c // heads, c // heads // 2
        self.qkv, self.proj, self.pe = _linear(c, 2 * c), _linear(c, c), _linear(c, c, 3, c)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = self.qkv(x).view(n, self.num_heads, 2 * self.head_dim, h * w)
        q, k, v = parts.split([self.key_dim, self.key_dim, self.head_dim], 2)
        share = (q.transpose(2, 3) @ k * self.key_dim**-0.5).softmax(-1)
        y = (v @ share.transpose(2, 3)).reshape(n, c, h, w)
        return self.proj(y + self.pe(v.reshape(n, c, h, w)))


class PSABlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.attn, self.add = Attention(c, c // 64), True
        self.ffn = nn.Sequential(Conv(c, 2 * c), _linear(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.ffn(x)


class C2PSA(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.c = c // 2
        self.cv1, self.cv2 = Conv(c, c), Conv(c, c)
        self.m = nn.Sequential(PSABlock(c // 2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat([a, self.m(b)], 1))


class DFL(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False)
        self.conv.weight.data[:] = torch.arange(float(BINS)).view(1, BINS, 1, 1)


class Detect(nn.Module):
    def __init__(self, channels: tuple[int, ...], nc: int, light: bool) -> None:
        super().__init__()
        self.nc, self.reg_max, self.stride = nc, BINS, STRIDES
        c2, c3 = max(16, channels[0] // 4, 4 * BINS), max(channels[0], min(nc, 100))

        def classes(c: int) -> list[nn.Module]:
            if not light:
                return [Conv(c, c3, 3), Conv(c3, c3, 3)]
            pairs = [(DWConv(c), Conv(c, c3)), (DWConv(c3), Conv(c3, c3))]
            return [nn.Sequential(*pair) for pair in pairs]

        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 4 * BINS, 1))
            for c in channels
        )
        self.cv3 = nn.ModuleList(nn.Sequential(*classes(c), nn.Conv2d(c3, nc, 1)) for c in channels)
        self.dfl = DFL()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        pairs = zip(self.cv2, self.cv3, maps, strict=True)
        return [answer for box, kind, x in pairs for answer in (box(x), kind(x))]


class DetectionModel(nn.Module):
    """A YOLOv8n or, where ``light``, a YOLO11n: numbered modules."""

    def __init__(self, light: bool, nc: int = 3) -> None:
        super().__init__()
        c = (16, 32, 64, 128, 256)

        def c2f(c1: int, c2: int, n: int = 1, shortcut: bool = False) -> nn.Module:
            return C2f(c1, c2, c2 // 2, [Bottleneck(c2 // 2, c2 // 2, shortcut) for _ in range(n)])

        def c3k2(c1: int, c2: int, deep: bool = False, share: int = 2) -> nn.Module:
            h = c2 // share
            return C3k2(c1, c2, h, [C3k(h) if deep else Bottleneck(h, h // 2, True)])

        up = nn.Upsample(None, 2, "nearest")
        if light:
            blocks = (
                *(c3k2(c[1], c[2], share=4), c3k2(c[2], c[3], share=4)),
                *(c3k2(c[3], c[3], True), c3k2(c[4], c[4], True)),
            )
            inputs, tail = (c[0], c[2], c[3], c[3]), [C2PSA(c[4])]
            neck = (
                *(c3k2(c[4] + c[3], c[3]), c3k2(2 * c[3], c[2])),
                *(c3k2(c[2] + c[3], c[3]), c3k2(c[3] + c[4], c[4], True)),
            )
        else:
            blocks = (
                *(c2f(c[1], c[1], 1, True), c2f(c[2], c[2], 2, True)),
                *(c2f(c[3], c[3], 2, True), c2f(c[4], c[4], 1, True)),
            )
            inputs, tail = (c[0], c[1], c[2], c[3]), []
            neck = (
                *(c2f(c[4] + c[3], c[3]), c2f(c[3] + c[2], c[2])),
                *(c2f(c[2] + c[3], c[3]), c2f(c[3] + c[4], c[4])),
            )
        down = zip(inputs, (blocks[0].cv1.conv.in_channels, *c[2:]), blocks, strict=True)
        self.model = nn.Sequential(
            Conv(3, c[0], 3, 2),
            *(part for c1, c2, block in down for part in (Conv(c1, c2, 3, 2), block)),
            *(SPPF(c[4]), *tail),
            *(up, Concat(), neck[0], up, Concat(), neck[1]),
            *(Conv(c[2], c[2], 3, 2), Concat(), neck[2]),
            *(Conv(c[3], c[3], 3, 2), Concat(), neck[3]),
            Detect(c[2:], nc, light),
        )
        self.names: Any = {i: f"class {i}" for i in range(nc)}
        self.stride, self.task, self.args = STRIDES, "detect", {"imgsz": 640}
        self.last = 10 if light else 9  # of the backbone
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)

    def forward(self, x: Tensor) -> list[Tensor]:
        n = self.last
        joins = {n + 2: 6, n + 5: 4, n + 8: n + 3, n + 11: n}
        outputs: list[Tensor] = []
        for i, module in enumerate(self.model[:-1]):
            x = module([x, outputs[joins[i]]] if i in joins else x)
            outputs.append(x)
        return self.model[-1]([outputs[n + 6], outputs[n + 9], outputs[n + 12]])


PLACES: Places = {
    "ultralytics.nn.modules.conv": (Conv, DWConv, Concat),
    "ultralytics.nn.modules.block": (
        *(Bottleneck, C2f, C3k2, C3k, SPPF, Attention, PSABlock, C2PSA, DFL),
    ),
    "ultralytics.nn.modules.head": (Detect,),
    "ultralytics.nn.tasks": (DetectionModel,),
}
