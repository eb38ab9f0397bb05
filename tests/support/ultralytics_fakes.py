"""Checkpoints with the layout of Ultralytics' YOLOv5 files, made by modules that were written here.

Only what a file shows is theirs: module paths, class and attribute names, and the numbering.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ANCHORS = torch.tensor(
    [
        [[10.0, 13], [16, 30], [33, 23]],
        [[30, 61], [62, 45], [59, 119]],
        [[116, 90], [156, 198], [373, 326]],
    ]
)
STRIDES = torch.tensor([8.0, 16, 32])


class Conv(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, c, 1), Conv(c, c, 3), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    def __init__(self, c1: int, c2: int, n: int, shortcut: bool) -> None:
        super().__init__()
        half = c2 // 2
        self.cv1, self.cv2, self.cv3 = Conv(c1, half), Conv(c1, half), Conv(2 * half, c2)
        self.m = nn.Sequential(*[Bottleneck(half, shortcut) for _ in range(n)])

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))


class SPP(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c // 2), Conv(c * 2, c)
        self.m = nn.ModuleList([nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *[m(x) for m in self.m]], 1))


class SPPF(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.cv1, self.cv2, self.m = Conv(c, c // 2), Conv(c * 2, c), nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        a = self.m(x)
        b = self.m(a)
        return self.cv2(torch.cat([x, a, b, self.m(b)], 1))


class Focus(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.conv = Conv(4 * c1, c2, 3)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = x[:, :, ::2], x[:, :, 1::2]
        parts = [top[..., ::2], bottom[..., ::2], top[..., 1::2], bottom[..., 1::2]]
        return self.conv(torch.cat(parts, 1))


class Concat(nn.Module):
    def forward(self, x: list[Tensor]) -> Tensor:
        return torch.cat(x, 1)


class Detect(nn.Module):
    def __init__(self, channels: list[int], nc: int, anchors: Tensor, release: int) -> None:
        super().__init__()
        self.nc, self.stride = nc, STRIDES
        self.register_buffer("anchors", anchors / STRIDES.view(3, 1, 1))
        if release < 6:
            self.register_buffer("anchor_grid", anchors.clone().view(3, 1, -1, 1, 1, 2))
        else:
            self.anchor_grid = [torch.empty(0) for _ in range(3)]
        outputs = anchors.shape[1] * (5 + nc)
        self.m = nn.ModuleList([nn.Conv2d(c, outputs, 1) for c in channels])


class DetectionModel(nn.Module):
    """Numbered modules, each with the number of its input in ``f``, as a release lays them out."""

    def __init__(
        self,
        base: int = 16,
        nc: int = 3,
        release: int = 6,
        depths: tuple[int, ...] = (1, 2, 3, 1),
        anchors: Tensor = ANCHORS,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        c = [base << i for i in range(5)]
        n = 1
        old = release < 6
        d2, d3, d4, d5 = depths
        deepest, pool = C3(c[4], c[4], d5, not old), SPP(c[4]) if old else SPPF(c[4])
        up = nn.Upsample(None, 2, "nearest")
        self.model = nn.Sequential(
            Focus(3, c[0]) if old else Conv(3, c[0], 6, 2, 2),
            *(Conv(c[0], c[1], 3, 2), C3(c[1], c[1], d2, True)),
            *(Conv(c[1], c[2], 3, 2), C3(c[2], c[2], d3, True)),
            *(Conv(c[2], c[3], 3, 2), C3(c[3], c[3], d4, True)),
            *(Conv(c[3], c[4], 3, 2), *((pool, deepest) if old else (deepest, pool))),
            *(Conv(c[4], c[3]), up, Concat(), C3(2 * c[3], c[3], n, False)),
            *(Conv(c[3], c[2]), up, Concat(), C3(2 * c[2], c[2], n, False)),
            *(Conv(c[2], c[2], 3, 2), Concat(), C3(2 * c[2], c[3], n, False)),
            *(Conv(c[3], c[3], 3, 2), Concat(), C3(2 * c[3], c[4], n, False)),
            Detect(c[2:], nc, anchors, release),
        )
        names = [f"class {i}" for i in range(nc)]
        self.names: Any = names if old else dict(enumerate(names))
        self.stride, self.nc, self.hyp = STRIDES, nc, {"lr0": 0.01}
        self.yaml = {"nc": nc, "anchors": anchors.view(3, -1).tolist()}
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            elif act is not None and isinstance(module, Conv):
                module.act = act

    def forward(self, x: Tensor) -> list[Tensor]:
        joins = {12: 6, 16: 4, 19: 14, 22: 10}
        outputs: list[Tensor] = []
        for i, module in enumerate(self.model[:-1]):
            x = module([x, outputs[joins[i]]] if i in joins else x)
            outputs.append(x)
        detect = self.model[24]
        return [m(outputs[i]) for m, i in zip(detect.m, (17, 20, 23), strict=True)]


class Hardswish(nn.Hardswish):
    """The old releases had one of their own."""


Places = dict[str, tuple[type[nn.Module], ...]]

_PLACES: Places = {
    "models.common": (Conv, Bottleneck, C3, SPP, SPPF, Focus, Concat),
    "models.yolo": (Detect, DetectionModel),
    "utils.activations": (Hardswish,),
}


@contextmanager
def in_their_places(places: Places = _PLACES) -> Iterator[None]:
    """Within, pickles name these classes by the modules where Ultralytics has them."""
    homes = {cls: cls.__module__ for classes in places.values() for cls in classes}
    folders = {path.rsplit(".", i)[0] for path in places for i in range(path.count(".") + 1)}
    try:
        for path in folders:
            sys.modules[path] = ModuleType(path)
        for path, classes in places.items():
            for cls in classes:
                cls.__module__ = path
                setattr(sys.modules[path], cls.__name__, cls)
        yield
    finally:
        for cls, home in homes.items():
            cls.__module__ = home
        for path in folders:
            sys.modules.pop(path, None)


def save_checkpoint(
    ema: nn.Module | None, path: Path, places: Places = _PLACES, **changes: Any
) -> Path:
    """A file as a trainer leaves it: weights of half precision, ``ema`` beside ``model``."""
    checkpoint = {
        "epoch": 12,
        "best_fitness": np.array([0.5]),
        "fitness": np.float64(0.5),
        "model": None,
        "ema": ema,
        "optimizer": None,
        "opt": {"imgsz": 640, "weights": Path("yolov5n.pt")},
        "date": "2022-01-01T00:00:00",
        **changes,
    }
    with in_their_places(places):
        torch.save(
            {k: v.half() if isinstance(v, nn.Module) else v for k, v in checkpoint.items()}, path
        )
    return path
