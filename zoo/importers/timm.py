"""timm's ``mobilenetv1_*`` into ours; the state dict alone is needed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..mobilenet import MobileNetV1
from ..weights import WeightsError
from .rules import Rule, conv_bn, load_renamed

_BLOCKS = (1, 2, 2, 6, 2)  # how timm groups the 13 pairs


def from_timm(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load timm's state dict into ``model``, which then answers as timm's does.

    Args:
        model: a ``mobilenet_v1_*`` of the same width and number of classes.
        state: ``timm.create_model("mobilenetv1_100", ...).state_dict()``. The normalisation that
            it was trained with belongs into ``create_model(..., spec={"mean": ..., "std": ...})``.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    if not isinstance(model, MobileNetV1):
        raise WeightsError(f"timm's weights have no rules for {type(model).__name__}")
    rules: list[Rule] = conv_bn("features.0", "conv_stem", "bn1")
    blocks = [f"blocks.{i}.{j}" for i, count in enumerate(_BLOCKS) for j in range(count)]
    for i, theirs in enumerate(blocks, start=1):
        rules += conv_bn(f"features.{i}.0", f"{theirs}.conv_dw", f"{theirs}.bn1")
        rules += conv_bn(f"features.{i}.1", f"{theirs}.conv_pw", f"{theirs}.bn2")
    return load_renamed(model, state, [*rules, ("head", "classifier")], "timm")
