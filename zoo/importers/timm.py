"""timm's ``mobilenetv1_*`` and ``mobilenetv2_*`` into ours; the state dict alone is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ..mobilenet import InvertedResidual, MobileNetV1, MobileNetV2
from ..weights import WeightsError
from .rules import Rule, conv_bn, load_renamed

_V1_GROUPS = (1, 2, 2, 6, 2)  # how timm groups the 13 pairs
_V2_GROUPS = (1, 2, 3, 4, 3, 3, 1)  # and the 17 inverted residuals


def from_timm(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load timm's state dict into ``model``, which then answers as timm's does.

    Args:
        model: a ``mobilenet_v1_*`` or ``mobilenet_v2_*`` of the same width and number of classes.
        state: ``timm.create_model("mobilenetv1_100", ...).state_dict()``. The normalisation that
            it was trained with belongs into ``create_model(..., spec={"mean": ..., "std": ...})``.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    if isinstance(model, MobileNetV1):
        rules = _v1_rules()
    elif isinstance(model, MobileNetV2):
        rules = _v2_rules(model)
    else:
        raise WeightsError(f"timm's weights have no rules for {type(model).__name__}")
    stem = conv_bn("features.0", "conv_stem", "bn1")
    return load_renamed(model, state, [*stem, *rules, ("head", "classifier")], "timm")


def _blocks(groups: Sequence[int]) -> list[str]:
    """timm's names of the blocks, in their order."""
    return [f"blocks.{i}.{j}" for i, count in enumerate(groups) for j in range(count)]


def _v1_rules() -> list[Rule]:
    rules: list[Rule] = []
    for i, theirs in enumerate(_blocks(_V1_GROUPS), start=1):
        rules += conv_bn(f"features.{i}.0", f"{theirs}.conv_dw", f"{theirs}.bn1")
        rules += conv_bn(f"features.{i}.1", f"{theirs}.conv_pw", f"{theirs}.bn2")
    return rules


def _v2_rules(model: MobileNetV2) -> list[Rule]:
    rules: list[Rule] = []
    for i, theirs in enumerate(_blocks(_V2_GROUPS), start=1):
        block = model.features[i]
        assert isinstance(block, InvertedResidual)
        names = ("conv_pw", "conv_dw", "conv_pwl")
        if len(block.layers) == 2:  # the first one does not expand
            names = ("conv_dw", "conv_pw")
        for j, convolution in enumerate(names):
            rules += conv_bn(
                f"features.{i}.layers.{j}", f"{theirs}.{convolution}", f"{theirs}.bn{j + 1}"
            )
    return [*rules, *conv_bn(f"features.{len(model.features) - 1}", "conv_head", "bn2")]
