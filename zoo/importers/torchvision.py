"""torchvision's ``vgg*_bn`` and ``mobilenet_v2`` into ours; the state dict alone is needed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..layers import ConvBnAct
from ..mobilenet import InvertedResidual, MobileNetV2
from ..vgg import Vgg
from ..weights import WeightsError
from .rules import Rule, conv_bn, fold_bias, load_renamed

ORIGIN = "torchvision"


def from_torchvision(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load torchvision's state dict into ``model``, which then answers as torchvision's does.

    Args:
        model: ``vgg*_bn`` with a 7x7 map (224x224 images), or ``mobilenet_v2_*`` of any size.
        state: ``torchvision.models.vgg16_bn(...).state_dict()`` and the like. Its networks were
            trained with ImageNet's mean and std: pass ``spec={"mean": ..., "std": ...}`` to
            ``create_model("mobilenet_v2_100")``, whose own spec says 0 and 255.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    if isinstance(model, Vgg):
        convolutions = _vgg_convolutions(model)
        rules = [rule for names in convolutions for rule in conv_bn(*names)]
        rules += [(f"head.{i}", f"classifier.{i}") for i in (0, 3, 6)]
        folded = dict(state)
        for ours, conv, bn in convolutions:
            mean = model.get_buffer(f"{ours}.bn.running_mean")
            fold_bias(folded, conv, bn, mean, ORIGIN)
        return load_renamed(model, folded, rules, ORIGIN)
    if isinstance(model, MobileNetV2):
        return load_renamed(model, state, _mobilenet_v2_rules(model), ORIGIN)
    raise WeightsError(f"torchvision's weights have no rules for {type(model).__name__}")


def _vgg_convolutions(model: Vgg) -> list[tuple[str, str, str]]:
    """Names of each ConvBnAct of ours, and of their convolution and normalisation.

    Theirs is a flat list of conv, bn, relu and pool; ours has one entry for the first three.
    """
    names: list[tuple[str, str, str]] = []
    index = 0
    for i, layer in enumerate(model.features):
        if isinstance(layer, ConvBnAct):
            names.append((f"features.{i}", f"features.{index}", f"features.{index + 1}"))
            index += 3
        else:
            index += 1
    return names


def _mobilenet_v2_rules(model: MobileNetV2) -> list[Rule]:
    rules: list[Rule] = []
    for i, layer in enumerate(model.features):
        name = f"features.{i}"
        if not isinstance(layer, InvertedResidual):
            rules += conv_bn(name, f"{name}.0", f"{name}.1")
            continue
        last = len(layer.layers) - 1
        for j in range(last):
            rules += conv_bn(f"{name}.layers.{j}", f"{name}.conv.{j}.0", f"{name}.conv.{j}.1")
        rules += conv_bn(f"{name}.layers.{last}", f"{name}.conv.{last}", f"{name}.conv.{last + 1}")
    return [*rules, ("head", "classifier.1")]
