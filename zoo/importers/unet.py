"""Checkpoints of the widely used PyTorch port of UNet into ours; the state dict alone is needed.

The port has named its modules in two ways, and its decoder has had two sets of channels:

| names                               | ``up1``'s first weight | biases | ours             |
|-------------------------------------|------------------------|--------|------------------|
| ``inc.conv.conv``, ``down1.mpconv`` | 256 x 1024 x 3 x 3     | yes    | ``slim=True``    |
| ``inc.double_conv``, early          | 256 x 1024 x 3 x 3     | yes    | ``slim=True``    |
| ``inc.double_conv``, later          | 512 x 1024 x 3 x 3     | either | ``slim=False``   |

It interpolates with aligned corners (``upsample="bilinear_ac"``) or, where a file has
``up1.up.weight``, learns it (``upsample="transpose"``). Its images are 0..1, as ours are with the
spec's mean of 0 and std of 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..registry import model_entry
from ..unet import UNet
from ..weights import WeightsError
from .files import ForeignWeights
from .rules import Rule, conv_bn, fold_bias, load_renamed

ORIGIN = "UNet checkpoint's"
_NO_TENSOR = "mask_values"  # later files note the gray levels of their masks among the tensors
_NAMES = ("inc.double_conv", "maxpool_conv.1.double_conv", "conv.double_conv")
_EARLY_NAMES = ("inc.conv.conv", "mpconv.1.conv", "conv.conv")


def from_unet_checkpoint(model: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Load the port's state dict into ``model``, which then answers as the port does.

    Args:
        model: a ``unet`` of as many channels and classes, with the ``upsample`` and ``slim`` of the
            table above.
        state: ``torch.load(path, map_location="cpu", weights_only=True)``.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    if not isinstance(model, UNet):
        raise WeightsError(f"a UNet checkpoint has no rules for {type(model).__name__}")
    tensors = {key: value for key, value in state.items() if key != _NO_TENSOR}
    early = "inc.conv.conv.0.weight" in tensors
    stem, pooled, merged = _EARLY_NAMES if early else _NAMES
    # Where two convolutions in a row begin; ours are neighbours, theirs have numbers 0 and 3.
    pairs = [("encoder.0", 0, stem)]
    pairs += [(f"encoder.{i}", 1, f"down{i}.{pooled}") for i in range(1, len(model.encoder))]
    steps = range(len(model.decoder.steps))
    pairs += [(f"decoder.steps.{i}.conv", 0, f"up{i + 1}.{merged}") for i in steps]
    rules: list[Rule] = []
    for ours, first, theirs in pairs:
        for j in (0, 1):
            layer, conv, bn = f"{ours}.{first + j}", f"{theirs}.{3 * j}", f"{theirs}.{3 * j + 1}"
            rules += conv_bn(layer, conv, bn)
            if f"{conv}.bias" in tensors:
                fold_bias(tensors, conv, bn, model.get_buffer(f"{layer}.bn.running_mean"), ORIGIN)
    for i, step in enumerate(model.decoder.steps):
        if isinstance(step.get_submodule("up"), nn.ConvTranspose2d):
            rules.append((f"decoder.steps.{i}.up", f"up{i + 1}.up"))
    return load_renamed(model, tensors, [*rules, ("head", "outc.conv")], ORIGIN)


def unet_arguments(weights: ForeignWeights, name: str) -> dict[str, Any]:
    """What :func:`~edgeark.zoo.create_model` needs to build the file's network as ``name``.

    A file does not say how it interpolates: aligned corners, as the port does, are assumed.

    Raises:
        WeightsError: the file holds no UNet of the port's, or one of other channels than ``name``.
    """
    state = weights.state
    early = "inc.conv.conv.0.weight" in state
    stem, _, merged = _EARLY_NAMES if early else _NAMES
    names = (f"{stem}.0.weight", f"up1.{merged}.0.weight", "outc.conv.weight")
    if lacking := [key for key in names if key not in state or state[key].ndim != 4]:
        raise WeightsError(f"{weights.path} holds no UNet that can be read: no {lacking[0]}")
    first, merging, last = (state[key] for key in names)
    with torch.device("meta"):
        wanted = len(next(iter(model_entry(name).build().parameters())))
    if len(first) != wanted:
        raise WeightsError(
            f"{weights.path} is a UNet of {len(first)} base channels, {name} has {wanted}"
        )
    return {
        "num_classes": len(last),
        "in_channels": first.shape[1],
        "upsample": "transpose" if "up1.up.weight" in state else "bilinear_ac",
        "slim": merging.shape[1] == 4 * merging.shape[0],
    }
