"""Networks of ``benchmarks/conformance.toml`` that need an argument, or the heads of a detector."""

from __future__ import annotations

import timm
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large


class RawHeads(nn.Module):
    """A detector of torchvision's without what it does before the backbone and behind the heads."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.head(list(self.backbone(x).values()))


def ssdlite_heads() -> nn.Module:
    detector = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, trainable_backbone_layers=6, num_classes=21
    )
    return RawHeads(detector)


def vit_tiny_96() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=96)


def swin_tiny_64() -> nn.Module:
    return timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4)


def levit_128s_96() -> nn.Module:
    return timm.create_model("levit_128s", img_size=96)


def unet_mobilenet_v2() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("mobilenet_v2", encoder_weights=None, classes=3)


def fpn_resnet18() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.FPN("resnet18", encoder_weights=None, classes=3)
