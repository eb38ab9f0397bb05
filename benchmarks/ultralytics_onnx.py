"""Ultralytics' YOLOv5 as their own exporter writes it; a process of its own for ``inference.py``.

``python ultralytics_onnx.py SIZE FOLDER`` writes two ONNX files for 640x640 images: ``u.onnx`` is
their network of today with its anchor-free head, which also decodes the boxes, and ``raw.onnx`` the
same backbone and neck under the three 1x1 convolutions of YOLOv5 proper, whose weights are in
``raw.pt``. Their package is under the AGPL: nothing of edgeark's imports this file's imports.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn


class RawHeads(nn.Module):
    """Three maps of 255 channels, in place of their head."""

    def __init__(self, replaced: nn.Module, channels: list[int]) -> None:
        super().__init__()
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * 85, 1) for c in channels)
        for name in ("f", "i", "type", "stride", "nc"):  # what their graph and exporter look at
            setattr(self, name, getattr(replaced, name))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [convolution(x) for convolution, x in zip(self.m, maps, strict=True)]


@torch.no_grad()
def settle(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Statistics of noise for the normalisations: untrained maps would fade to denormal numbers."""
    normalizations = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in normalizations]
    for normalization in normalizations:
        normalization.momentum = 1.0
    model.train()(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    for normalization, momentum in zip(normalizations, momenta, strict=True):
        normalization.momentum = momentum
    return model.eval()


def main(size: str, folder: Path) -> None:
    from ultralytics import YOLO

    for raw in (True, False):
        torch.manual_seed(0)
        yolo = YOLO(f"yolov5{size}.yaml")
        head = yolo.model.model[-1]
        if raw:
            channels = [branch[0].conv.in_channels for branch in head.cv2]
            yolo.model.model[-1] = RawHeads(head, channels)
        settle(yolo.model, (1, 3, 640, 640))
        if raw:
            torch.save(yolo.model.state_dict(), folder / "raw.pt")
        written = yolo.export(format="onnx", imgsz=640)
        Path(written).rename(folder / ("raw.onnx" if raw else "u.onnx"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
