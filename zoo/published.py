"""Published ImageNet weights for networks of ours that have the same layers.

torchvision and timm fetch the files, check them and keep them in their own caches; nothing is
fetched before somebody asks for it. The weights keep the licence that they were published under.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..core.network import network_timeout
from ..core.settings import is_offline
from .importers.timm import from_timm
from .importers.torchvision import from_torchvision
from .registry import Trained, create_model, register_published
from .weights import WeightsError

_TORCHVISION = {
    "mobilenet_v2_100": "mobilenet_v2",
    "vgg11_bn": "vgg11_bn",
    "vgg13_bn": "vgg13_bn",
    "vgg16_bn": "vgg16_bn",
    "vgg19_bn": "vgg19_bn",
}
_TIMM = {"mobilenet_v1_100": "mobilenetv1_100", "mobilenet_v2_050": "mobilenetv2_050"}


def _fetch(name: str) -> Trained:
    """Fetch the weights for ``name``, or read them from the cache; by our names, 1000 classes.

    Raises:
        WeightsError: in one line: they are neither in the cache nor to be reached, or damaged.
    """
    hub, fetch = ("timm", _from_timm) if name in _TIMM else ("torchvision", _from_torchvision)
    try:
        with network_timeout(10):
            return fetch(name)
    # What the loaders raise where there is no network, no file, or a broken one.
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise WeightsError(f"cannot get {hub}'s ImageNet weights for {name}: {said}") from error


def _from_timm(name: str) -> Trained:
    import timm  # slow to import
    from huggingface_hub import hf_hub_download
    from timm.data.imagenet_info import ImageNetInfo

    config = timm.get_pretrained_cfg(_TIMM[name])
    assert config is not None and config.hf_hub_id is not None
    path = hf_hub_download(config.hf_hub_id, "model.safetensors", local_files_only=is_offline())
    overlay = {"file": path}
    theirs = timm.create_model(_TIMM[name], pretrained=True, pretrained_cfg_overlay=overlay)
    facts = _facts(config.mean, config.std, ImageNetInfo().label_descriptions())
    ours = from_timm(create_model(name), theirs.state_dict())
    return Trained(f"timm's {_TIMM[name]}", facts, ours.state_dict)


def _from_torchvision(name: str) -> Trained:
    from torchvision.models import get_model_weights  # slow to import

    weights = get_model_weights(_TORCHVISION[name])["DEFAULT"]
    cached = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(weights.url).name)
    if is_offline() and not cached.exists():
        raise OSError("offline")
    state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    transforms = weights.transforms()
    facts = _facts(transforms.mean, transforms.std, weights.meta["categories"])
    ours = from_torchvision(create_model(name), state)
    return Trained(f"torchvision's {weights}", facts, ours.state_dict)


def _facts(mean: Iterable[float], std: Iterable[float], classes: Iterable[str]) -> dict[str, Any]:
    """Those of a spec; mean and std of images in 0..1 become those of images in 0..255."""
    return {
        "mean": tuple(255 * value for value in mean),
        "std": tuple(255 * value for value in std),
        "classes": tuple(classes),
        "dataset": "imagenet",
    }


register_published((*_TORCHVISION, *_TIMM), _fetch)
