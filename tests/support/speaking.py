"""Small untrained networks that have something to say of any image."""

from __future__ import annotations

from typing import Any

import torch
from edgeark.zoo import create_model, spec_of
from torch import nn

from support.settled import make_images
from support.zoo_cases import ready

# Of each task: a classifier, masks, boxes by anchors, boxes without (of a bgr network), and boxes
# whose sides are distributions
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet_v1_025": {"input_size": (128, 160), "width": 0.25},
    "unet_8": {"input_size": (32, 48)},
    "yolov5n": {"input_size": (64, 96), "width": 0.125},
    "yolox_nano": {"input_size": (64, 96), "width": 0.125},
    "yolo11n": {"input_size": (64, 96), "width": 0.125},
}


def make_network(name: str, **arguments: Any) -> nn.Module:
    """Small, and with something to say: a detector that sees nothing would prove nothing."""
    model = create_model(name, **{**NETWORKS[name], **arguments})
    shape = spec_of(model).input_shape[1:]
    ready(model, *shape)
    x = torch.from_numpy(make_images(8, shape, seed=9)).float()
    spec = spec_of(model)
    mean, std = (torch.tensor(v)[:, None, None] for v in (spec.mean, spec.std))
    with torch.no_grad():
        for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
            if conv.bias is not None:  # a head: its channels shall vary around 0
                conv.register_forward_hook(_centre)
        model((x - mean) / std)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        conv._forward_hooks.clear()
    return model


def _centre(conv: nn.Module, _: object, output: torch.Tensor) -> None:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    scale = 2 / output.std((0, 2, 3))
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias.sub_(output.mean((0, 2, 3))).mul_(scale)
