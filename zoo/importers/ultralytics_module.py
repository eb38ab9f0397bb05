"""What a whole module in an Ultralytics file says beyond its weights, for every family alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..coco import COCO_CLASSES
from ..layers import Act
from ..weights import WeightsError
from .files import ForeignWeights
from .safe_pickle import Record

ORIGIN = "Ultralytics"
ACTS: dict[str, Act] = {
    "SiLU": "silu",
    "Hardswish": "hardswish",
    "LeakyReLU": "leaky_relu",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "Identity": "none",
}


def single_act(weights: ForeignWeights, parts: list[Record]) -> Act:
    """The activation that all ``parts`` are, by our name.

    Raises:
        WeightsError: they differ, or are none that is known.
    """
    acts: set[Act | None] = {_act(part) for part in parts}
    act = acts.pop() if len(acts) == 1 else None
    if act is None:
        raise WeightsError(f"{weights.path} has no single activation of {', '.join(ACTS)}")
    return act


def _act(part: Record) -> Act | None:
    """Theirs leaks by 0.1 where it leaks, as ours does."""
    if part.kind.name == "LeakyReLU" and part.state.get("negative_slope") != 0.1:
        return None
    return ACTS.get(part.kind.name)


def class_names(weights: ForeignWeights, module: Record, count: int) -> tuple[str, ...] | None:
    """The names of the classes; None for a file without any.

    Raises:
        WeightsError: they are not ``count`` names.
    """
    names = module.state.get("names")
    names = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(names, list):
        return None
    if len(names) != count or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{weights.path} has no names for its {count} classes")
    return tuple(names)


def dataset_of(arguments: Mapping[str, Any]) -> str:
    """``coco`` for COCO's classes, and where 80 classes have no name; else ``custom``."""
    classes = arguments["spec"].get("classes", COCO_CLASSES)
    known = classes == COCO_CLASSES and len(classes) == arguments["num_classes"]
    return "coco" if known else "custom"


def of_class(modules: Mapping[str, Record], kind: str, prefix: str) -> list[Record]:
    """The modules of a class below ``prefix``."""
    named = [part for name, part in modules.items() if name.startswith(f"{prefix}.")]
    return [part for part in named if part.kind.name == kind]
