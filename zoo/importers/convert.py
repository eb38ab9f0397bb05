"""A file of another origin as a model of ours: which importer each family has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..mobilenet import MobileNetV1, MobileNetV2
from ..registry import create_model
from ..unet import UNet
from ..vgg import Vgg
from ..weights import WeightsError
from ..yolo11 import Yolo11
from ..yolov5 import YoloV5
from ..yolov8 import YoloV8
from ..yolox import YoloX
from .files import ForeignWeights, read_foreign
from .timm import from_timm
from .torchvision import from_torchvision
from .ultralytics import from_ultralytics, ultralytics_arguments
from .ultralytics_dfl import dfl_arguments, from_ultralytics_dfl
from .unet import from_unet_checkpoint, unet_arguments
from .yolox import from_yolox, yolox_arguments


@dataclass(frozen=True)
class Importer:
    """How one family takes weights of one origin.

    ``arguments`` reads those of ``create_model`` off a file; ``unsaid`` are facts that a file may
    leave open; ``normalisation`` is what the origin's weights were trained with.
    """

    family: type[nn.Module]
    origin: str
    arguments: Callable[[ForeignWeights, str], dict[str, Any]]
    load: Callable[[nn.Module, Mapping[str, Tensor]], nn.Module]
    unsaid: tuple[str, ...]
    normalisation: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _classifier(last: str) -> Callable[[ForeignWeights, str], dict[str, Any]]:
    """Arguments of a classifier: as many classes as its last layer has outputs."""

    def arguments(weights: ForeignWeights, name: str) -> dict[str, Any]:
        weight = weights.state.get(last)
        if weight is None or weight.ndim < 2 or not len(weight):
            raise WeightsError(f"{weights.path} holds no weights of {name}: {last} is missing")
        return {"num_classes": len(weight)}

    return arguments


_FIXED = ("classes", "mean", "std")  # a state dict of a classifier says none of them
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_HALF = {"mean": (127.5,) * 3, "std": (127.5,) * 3}

IMPORTERS = (
    Importer(
        YoloV5, "Ultralytics", ultralytics_arguments, from_ultralytics, unsaid=("act", "classes")
    ),
    *(
        Importer(
            family, "Ultralytics", dfl_arguments, from_ultralytics_dfl, unsaid=("act", "classes")
        )
        for family in (YoloV8, Yolo11)
    ),
    Importer(
        Vgg, "torchvision", _classifier("classifier.6.weight"), from_torchvision, _FIXED, _IMAGENET
    ),
    Importer(
        *(MobileNetV2, "torchvision", _classifier("classifier.1.weight"), from_torchvision),
        *(_FIXED, _IMAGENET),
    ),
    Importer(MobileNetV1, "timm", _classifier("classifier.weight"), from_timm, _FIXED, _HALF),
    Importer(UNet, "UNet", unet_arguments, from_unet_checkpoint, unsaid=("act", "classes")),
    Importer(YoloX, "YOLOX", yolox_arguments, from_yolox, unsaid=("act", "classes")),
)


@dataclass(frozen=True)
class Imported:
    """A model with the weights of a file, and where they came from.

    ``assumed`` names what the file does not say.
    """

    model: nn.Module
    origin: str
    part: str
    epoch: int | None
    assumed: tuple[str, ...]


def import_weights(path: str | Path, name: str, *, act: str | None = None) -> Imported:
    """Read a weights file of another origin as the model ``name``; nothing of it is executed.

    Args:
        path: a ``.pt``, ``.pth``, ``.safetensors``, ``.npz`` or ``.pkl`` file (the latter two:
            NumPy arrays by name).
        name: the model that the file is expected to be.
        act: the activation, for a file that does not say it; the model's own by default.

    Raises:
        ModelError: an unknown name.
        WeightsError: in one line: the file is missing, damaged, unsafe, or of another network.
    """
    with torch.device("meta"):
        family = type(create_model(name))
    importer = next((i for i in IMPORTERS if i.family is family), None)
    if importer is None:
        raise WeightsError(f"no weights of another origin are known for {name}")
    weights = read_foreign(Path(path))
    arguments = importer.arguments(weights, name)
    if act is not None and arguments.setdefault("act", act) != act:
        raise WeightsError(f"{path} was trained with {arguments['act']}, not {act}")
    said = arguments.pop("spec", {})
    assumed = tuple(fact for fact in importer.unsaid if fact not in {**arguments, **said})
    model = create_model(name, spec={**importer.normalisation, **said}, **arguments)
    importer.load(model, weights.state)
    return Imported(model, importer.origin, weights.part, weights.epoch, assumed)
