"""Models in export-safe PyTorch. This package needs torch alone (weights: safetensors)."""

from . import (  # noqa: F401  (they register)
    mnist,
    mobilenet,
    published,
    unet,
    vgg,
    yolo11,
    yolov5,
    yolov8,
    yolox,
)
from .registry import create_model, list_models, model_entry, register_model
from .spec import ModelSpec, name_of, spec_of
from .weights import WeightsError, load_weights, save_weights

__all__ = [
    "ModelSpec",
    "WeightsError",
    "create_model",
    "list_models",
    "load_weights",
    "model_entry",
    "name_of",
    "register_model",
    "save_weights",
    "spec_of",
]
