"""How the tests that run over the whole zoo build its larger members in a fraction of a second."""

from __future__ import annotations

from typing import Any

from edgeark.zoo import create_model, list_models, model_entry
from torch import nn

# Builder arguments by family; a model that is not listed is built as it is.
_SMALLER: dict[str, dict[str, Any]] = {
    "vgg_kpu": {"width": 0.25},
    "vgg11_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg13_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg16_bn": {"input_size": (64, 64), "width": 0.125},
    "vgg19_bn": {"input_size": (64, 64), "width": 0.125},
    "mobilenet_v1": {"input_size": (128, 128), "width": 0.25},
    "mobilenet_v2": {"input_size": (128, 128), "width": 0.25},
}


def family(name: str) -> str:
    """``mobilenet_v1`` for ``mobilenet_v1_050``: members that differ in width alone are one."""
    stem, _, width = name.rpartition("_")
    return stem if width.isdigit() else name


def one_per_family() -> list[str]:
    """The models whose small networks differ from one another."""
    return list({family(name): name for name in reversed(list_models())}.values())[::-1]


def small(name: str) -> dict[str, Any]:
    """Arguments that keep ``name``'s layers and make them cheap; empty where they are already."""
    return dict(_SMALLER.get(family(name), {}))


def create_small(name: str, **arguments: Any) -> nn.Module:
    """``create_model`` with :func:`small`'s arguments, unless ``arguments`` say otherwise."""
    return create_model(name, **{**small(name), **arguments})


def other_size(name: str) -> tuple[int, int]:
    """An input size that is not the model's own, and not square."""
    height, width = small(name).get("input_size", (32, 32))
    return height, width + width // 4


def other_channels(name: str) -> tuple[int, str]:
    """The channels and colour that the model's own spec does not have."""
    return (3, "rgb") if model_entry(name).spec.in_channels == 1 else (1, "gray")
