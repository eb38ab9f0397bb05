"""YOLOX's published ``yolox_nano`` into ours; the state dict alone is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..layers import SPPF
from ..stems import unfold_focus
from ..weights import WeightsError
from ..yolox import CspLayer, YoloX
from .files import ForeignWeights
from .rules import Rule, conv_bn, load_renamed, take

ORIGIN = "YOLOX"
_STEM = "backbone.backbone.stem.conv"
_NECK = {  # ours: a CspLayer, a separable pair, or a 1x1; theirs
    "squeeze_coarse": "lateral_conv0",
    "down_middle": "C3_p4",
    "squeeze_middle": "reduce_conv1",
    "down_fine": "C3_p3",
    "shrink_fine": "bu_conv2",
    "up_middle": "C3_n3",
    "shrink_middle": "bu_conv1",
    "up_coarse": "C3_n4",
}


def from_yolox(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load YOLOX's state dict into ``model``, which then answers as YOLOX's does, before decoding.

    Args:
        model: a ``yolox_nano`` with ``stem="6x6"`` (the kernel behind their space-to-depth is
            unfolded, which is exact) or ``"focus"``, of the same classes.
        state: what is under ``"model"`` in their checkpoint. Read that with
            ``torch.load(path, weights_only=True)``, which runs no code of the file.

    Raises:
        WeightsError: the model is of another family or has the 3x3 stem, or the state dict is
            another network's.
    """
    if not isinstance(model, YoloX):
        raise WeightsError(f"YOLOX's weights have no rules for {type(model).__name__}")
    if model.stem_kind == "3x3":
        raise WeightsError("YOLOX's weights do not fit a 3x3 stem; build it with stem='6x6'")
    if model.stem_kind == "6x6":
        state = _unfold_stem(model, state)
    rules = _backbone_rules(model) + _neck_rules(model) + _head_rules(model)
    return load_renamed(model, state, rules, ORIGIN)


def yolox_arguments(weights: ForeignWeights, name: str) -> dict[str, Any]:
    """What :func:`~edgeark.zoo.create_model` needs to build the file's network as ``name``.

    Raises:
        WeightsError: the file holds no YOLOX.
    """
    names = (f"{_STEM}.conv.weight", "head.cls_preds.0.weight")
    for key in names:
        if key not in weights.state or weights.state[key].ndim != 4:
            raise WeightsError(f"{weights.path} holds no weights of {name}: {key} is missing")
    stem, classes = (weights.state[key] for key in names)
    return {"num_classes": len(classes), "in_channels": stem.shape[1] // 4}


def _unfold_stem(model: YoloX, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    changed = dict(state)
    name = f"{_STEM}.conv.weight"
    ours = model.get_parameter("backbone.0.0.conv.weight")
    out_channels, channels, height, width = ours.shape
    wanted = ours.new_empty(out_channels, 4 * channels, height // 2, width // 2)
    changed[name] = unfold_focus(take(changed, name, wanted, ORIGIN))
    return changed


def _one(ours: str, theirs: str) -> list[Rule]:
    return conv_bn(ours, f"{theirs}.conv", f"{theirs}.bn")


def _separable(ours: str, theirs: str) -> list[Rule]:
    return _one(f"{ours}.0", f"{theirs}.dconv") + _one(f"{ours}.1", f"{theirs}.pconv")


def _csp(layer: CspLayer, ours: str, theirs: str) -> list[Rule]:
    rules: list[Rule] = []
    for part, their_part in (("through", "conv1"), ("past", "conv2"), ("mix", "conv3")):
        rules += _one(f"{ours}.{part}", f"{theirs}.{their_part}")
    for i in range(len(layer.blocks)):
        rules += _one(f"{ours}.blocks.{i}.layers.0", f"{theirs}.m.{i}.conv1")
        rules += _separable(f"{ours}.blocks.{i}.layers.1", f"{theirs}.m.{i}.conv2")
    return rules


def _module(module: nn.Module, ours: str, theirs: str) -> list[Rule]:
    """The rules of a module of the backbone's or the neck's, whatever it is."""
    if isinstance(module, CspLayer):
        return _csp(module, ours, theirs)
    if isinstance(module, SPPF):
        pairs = (("cv1", "conv1"), ("cv2", "conv2"))
        return [rule for a, b in pairs for rule in _one(f"{ours}.{a}", f"{theirs}.{b}")]
    if hasattr(module, "bn"):
        return _one(ours, theirs)
    return _separable(ours, theirs)


def _backbone_rules(model: YoloX) -> list[Rule]:
    stem, *parts = model.feature_stages()
    rules = _one(f"backbone.0.{len(stem) - 1}", _STEM)
    for i, part in enumerate(parts, start=1):
        for j, module in enumerate(part):
            rules += _module(module, f"backbone.{i}.{j}", f"backbone.backbone.dark{i + 1}.{j}")
    return rules


def _neck_rules(model: YoloX) -> list[Rule]:
    rules: list[Rule] = []
    for ours, theirs in _NECK.items():
        rules += _module(model.neck.get_submodule(ours), f"neck.{ours}", f"backbone.{theirs}")
    return rules


def _head_rules(model: YoloX) -> list[Rule]:
    rules: list[Rule] = []
    for i in range(len(model.heads)):
        ours = f"heads.{i}"
        rules += _one(f"{ours}.stem", f"head.stems.{i}")
        for part, theirs in (("box", "reg"), ("class", "cls")):
            for j in range(2):
                rules += _separable(f"{ours}.{part}_branch.{j}", f"head.{theirs}_convs.{i}.{j}")
        for part, theirs in (("box", "reg"), ("objectness", "obj"), ("classes", "cls")):
            rules.append((f"{ours}.{part}", f"head.{theirs}_preds.{i}"))
    return rules
