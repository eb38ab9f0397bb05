"""Published networks by their own packages' names: ``timm:NAME`` and ``torchvision:NAME``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import nn

from ...core.messages import suggest
from ...errors import SourceError

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_UNIT = 255.0  # both packages state mean and std for pixels in 0..1


def make_timm(name: str, pretrained: bool) -> tuple[nn.Module, dict[str, Any]]:
    """A network of timm, and what it says of its input: ``shape``, ``mean``, ``std``.

    Raises:
        SourceError: no such model, or its published weights cannot be had.
    """
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise SourceError(_unknown("timm", name, known))
    model = _make("timm", name, lambda: timm.create_model(name, pretrained=pretrained))
    config = getattr(model, "pretrained_cfg", {})
    shape = config.get("input_size") or (3, 224, 224)
    mean, std = config.get("mean") or _IMAGENET_MEAN, config.get("std") or _IMAGENET_STD
    return model, _facts(shape, mean, std)


def make_torchvision(name: str, pretrained: bool) -> tuple[nn.Module, dict[str, Any]]:
    """A network of torchvision's, as :func:`make_timm`."""
    from torchvision import models

    known = models.list_models()
    if name not in known:
        raise SourceError(_unknown("torchvision", name, known))
    weights = "DEFAULT" if pretrained else None
    no_backbone = {} if pretrained or "_backbone" not in _signature(name) else {
        "weights_backbone": None
    }  # fmt: skip
    model = _make(
        "torchvision", name, lambda: models.get_model(name, weights=weights, **no_backbone)
    )
    entry = models.get_model_weights(name)
    side = 224
    for member in itertools.islice(entry, 1):  # type: ignore[call-overload]
        crop = getattr(member.transforms, "keywords", {}).get("crop_size")
        side = crop if isinstance(crop, int) else side
    return model, _facts((3, side, side), _IMAGENET_MEAN, _IMAGENET_STD)


def _signature(name: str) -> str:
    import inspect

    from torchvision import models

    return str(inspect.signature(models.get_model_builder(name)))


def _facts(shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    return {
        "shape": tuple(shape),
        "mean": tuple(_UNIT * value for value in mean),
        "std": tuple(_UNIT * value for value in std),
    }


def _make(hub: str, name: str, build: Any) -> nn.Module:
    try:
        return build()
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise SourceError(f"{hub}:{name} fails: {type(error).__name__}: {said}") from error


def _unknown(hub: str, name: str, known: Sequence[str]) -> str:
    where = "timm" if hub == "timm" else "torchvision.models"
    hint = suggest(name, known, f"{where}.list_models() lists them")
    return f"{hub} has no model {name!r}; {hint}"
