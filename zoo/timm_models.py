"""Every model of the zoo under timm's roof, as ``edgeark_<name>``; import it, that is all::

    import edgeark.zoo.timm_models
    backbone = timm.create_model("edgeark_mobilenet_v1_050", features_only=True)

A module of its own, since timm takes seconds to import and nothing else in zoo/ needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from timm.models import PretrainedCfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from ..core.catalog import packaged_weights
from ..errors import ModelError
from .backbone import create_backbone
from .registry import create_model, list_models, model_entry
from .spec import ModelSpec, spec_of

PREFIX = "edgeark_"
_ARGUMENTS = {"in_chans": "in_channels", "img_size": "input_size"}  # timm's words for ours
default_cfgs: dict[str, Any] = {}  # timm looks for this name in the module of an entry point


class Classifier(nn.Module):
    """A classification model as timm has them: ``[N, C, H, W] -> [N, num_classes]`` logits.

    The model is at ``model``: save that with ``save_weights``, and it loads in edgeark.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.num_classes = len(spec_of(model).classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """The encoder's last map, ``[N, C, h, w]``."""
        return self.model.get_submodule("features")(x)

    def forward_head(self, x: Tensor) -> Tensor:
        """From that map to the logits: the model's layers after the encoder, as it defines them."""
        for name, layer in self.model.named_children():
            x = x if name == "features" else layer(x)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).flatten(1)


def register_with_timm() -> list[str]:
    """Make timm know each model that it does not know yet; the names that are new to it.

    Importing this module calls it; call it again after registering models of your own.
    """
    names = [name for name in list_models() if not timm.is_model(PREFIX + name)]
    configs: dict[str, Any] = {
        PREFIX + name: _config(name, model_entry(name).spec) for name in names
    }
    default_cfgs.update(generate_default_cfgs(configs))
    for name in names:
        register_model(_entry_point(name))
    return [PREFIX + name for name in names]


def _entry_point(name: str) -> Callable[..., nn.Module]:
    def build(pretrained: bool = False, features_only: bool = False, **kwargs: Any) -> nn.Module:
        arguments = _translate(kwargs)
        if features_only:
            arguments.pop("num_classes", None)
            model = network = create_backbone(name, pretrained=pretrained, **arguments)
        else:
            _check_classifier(name, arguments)
            network = create_model(name, pretrained=pretrained, **arguments)
            model = Classifier(network)
        config = PretrainedCfg(architecture=PREFIX + name, **_config(name, spec_of(network)))
        config.fixed_input_size = not features_only
        model.pretrained_cfg = model.default_cfg = config.to_dict()  # type: ignore[assignment]
        return model

    build.__name__ = build.__qualname__ = PREFIX + name
    build.__doc__ = model_entry(name).spec.description
    return build


def _translate(arguments: dict[str, Any]) -> dict[str, Any]:
    """timm's arguments as ours."""
    if any(arguments.pop(key, None) for key in ("pretrained_cfg", "pretrained_cfg_overlay")):
        raise ModelError("edgeark's models have no tags or configurations; give weights=FILE")
    arguments.pop("cache_dir", None)  # for downloads; there are none
    ours = {_ARGUMENTS.get(key, key): value for key, value in arguments.items()}
    if isinstance(ours.get("input_size"), int):
        ours["input_size"] = (ours["input_size"],) * 2
    if isinstance(ours.get("out_indices"), int):  # timm: that many of the deepest
        ours["out_indices"] = range(-ours["out_indices"], 0)
    return ours


def _check_classifier(name: str, arguments: dict[str, Any]) -> None:
    task = model_entry(name).spec.task
    if task != "classification":
        raise ModelError(
            f"{name} does {task}, and timm's models classify; ask for features_only=True, or build "
            f'it with edgeark.create_model("{name}")'
        )
    if arguments.get("num_classes") == 0 or arguments.get("out_indices") is not None:
        raise ModelError(f"{name}: for feature maps ask for features_only=True")


def _config(name: str, spec: ModelSpec) -> dict[str, Any]:
    """timm's data configuration: mean and std in 0..1; the image is resized, never cropped."""
    weights = packaged_weights(name)
    return {
        "file": str(weights) if weights.exists() else None,
        "input_size": (spec.in_channels, *spec.input_size),
        "fixed_input_size": True,
        "num_classes": len(spec.classes),
        "mean": tuple(value / 255 for value in spec.mean),
        "std": tuple(value / 255 for value in spec.std),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "license": spec.license,
        "description": spec.description,
    }


register_with_timm()
