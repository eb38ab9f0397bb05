"""How the tests that run over the whole zoo build its larger members in a fraction of a second."""

from __future__ import annotations

from typing import Any

import torch
from edgeark.zoo import ModelSpec, create_model, list_models, model_entry
from torch import Tensor, nn

# Builder arguments by name or family; a model that is not listed is built as it is.
_SMALLER: dict[str, dict[str, Any]] = {
    "vgg_kpu": {"width": 0.25},
    "vgg11_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg13_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg16_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg19_bn": {"input_size": (64, 64), "width": 0.125},
    "mobilenet_v1": {"input_size": (128, 128), "width": 0.25},
    "mobilenet_v2": {"input_size": (128, 128), "width": 0.25},
    "unet": {"input_size": (64, 64), "width": 0.125},
    "unet_8": {"input_size": (64, 64)},
    "unet_16": {"input_size": (64, 64), "width": 0.5},
    "unet_32": {"input_size": (64, 64), "width": 0.25},
    "yolox_nano": {"input_size": (128, 128), "width": 0.125},
    "yolov5": {"input_size": (64, 64), "width": 0.125, "depth": 0.33},
    "yolov8": {"input_size": (64, 64), "width": 0.125, "depth": 0.33},
    "yolo11": {"input_size": (64, 64), "width": 0.125, "depth": 0.5},
}


# What the docs promise of the chips that fit few networks; test_lint.py proves it by ``check``.
MADE_FOR = {
    "k210": (
        *("mnist_kpu", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"),
        *("unet_8", "vgg_kpu"),
    ),
    "k210-nncase": (
        *("mnist_kpu", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"),
        "vgg_kpu",
    ),
}


def family(name: str) -> str:
    """``mobilenet_v1`` for ``mobilenet_v1_050``: members that differ in size alone are one."""
    for sizes in ("yolov5", "yolov8", "yolo11"):
        if name.startswith(sizes):
            return sizes
    stem, _, width = name.rpartition("_")
    return stem if width.isdigit() else name


def one_per_family() -> list[str]:
    """The models whose small networks differ from one another."""
    return list({family(name): name for name in reversed(list_models())}.values())[::-1]


def small(name: str) -> dict[str, Any]:
    """Arguments that keep ``name``'s layers and make them cheap; empty where they are already."""
    return dict(_SMALLER.get(name) or _SMALLER.get(family(name), {}))


def create_small(name: str, **arguments: Any) -> nn.Module:
    """``create_model`` with :func:`small`'s arguments, unless ``arguments`` say otherwise."""
    return create_model(name, **{**small(name), **arguments})


def other_size(name: str) -> tuple[int, int]:
    """An input size that is not the model's own, and not square."""
    height, width = small(name).get("input_size", (32, 32))
    return height, width + 32  # every family takes multiples of 32


def other_channels(name: str) -> tuple[int, str]:
    """The channels and colour that the model's own spec does not have."""
    return (3, "rgb") if model_entry(name).spec.in_channels == 1 else (1, "gray")


@torch.no_grad()
def ready(model: nn.Module, *shape: int) -> nn.Module:
    """Scales, shifts and statistics as after training on images of ``shape``; in place.

    The statistics are those of random images: with the first ones the deep maps would fade, and
    an error in them would not show.
    """
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2)
            module.bias.uniform_(-0.2, 0.2)
            module.momentum = None  # the statistics of all batches, not of the last ones
    model.train()(torch.rand(4, *shape))
    return model.eval()


def answers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The network's outputs as a list, also where there is one alone."""
    out = model(x)
    return [out] if isinstance(out, Tensor) else list(out)


def answer_shapes(spec: ModelSpec, batch: int = 1) -> list[tuple[int, ...]]:
    """The shapes that a spec promises: a map of 1x1, of the image's size, or one per stride."""
    (height, width), classes = spec.input_size, len(spec.classes)
    if spec.task == "classification":
        return [(batch, classes, 1, 1)]
    if spec.task == "segmentation":
        return [(batch, classes, height, width)]
    maps = [(height // stride, width // stride) for stride in spec.strides]
    if spec.head == "dfl":
        return [(batch, channels, *size) for size in maps for channels in (64, classes)]
    if spec.anchors:
        boxes = [len(anchors) * (5 + classes) for anchors in spec.anchors]
        return [(batch, count, *size) for count, size in zip(boxes, maps, strict=True)]
    return [(batch, channels, *size) for size in maps for channels in (4, 1, classes)]


def toy_loss(spec: ModelSpec, outputs: list[Tensor]) -> Tensor:
    """Something that a network of any task can learn in a few steps."""
    if spec.task == "classification":
        labels = torch.arange(len(outputs[0])) % 2
        return torch.nn.functional.cross_entropy(outputs[0].flatten(1), labels)
    pattern = [(torch.arange(out.shape[-1]) // 2 % 2).float().expand_as(out) for out in outputs]
    errors = [out - wanted for out, wanted in zip(outputs, pattern, strict=True)]
    # A head's biases may start far off, at a prior: the pattern counts, not its mean.
    return torch.stack(
        [(e - e.mean((0, 2, 3), keepdim=True)).square().mean() for e in errors]
    ).sum()
