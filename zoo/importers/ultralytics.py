"""Ultralytics' YOLOv5 weights, releases 4 to 7, into ours; none of their code is needed.

Their modules are numbered: 0 is the stem, 1 to 9 the backbone, 10 to 23 the neck, 24 the heads with
the anchors. A file of a whole module also says which activation it was trained with and what the
classes are called; a state dict says neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..stems import Focus
from ..weights import WeightsError
from ..yolov5 import STRIDES, YoloV5
from .files import ForeignWeights
from .rules import Rule, load_renamed
from .safe_pickle import Record
from .torch_file import submodules
from .ultralytics_module import ORIGIN, class_names, dataset_of, of_class, single_act

# Our modules by their numbers; the rest have no weights.
_MODULES = {
    **{1: "stage2.0", 2: "stage2.1", 3: "stage3.0", 4: "stage3.1", 5: "stage4.0", 6: "stage4.1"},
    **{7: "stage5.0", 8: "stage5.1", 9: "stage5.2", 10: "lateral5", 13: "down4", 14: "lateral4"},
    **{17: "down3", 18: "shrink3", 20: "up4", 21: "shrink4", 23: "up5"},
}
_HEADS = "model.24"
# Channels of the stem and blocks of the fourth stage tell the members apart.
_MEMBERS = {
    (16, 3): "yolov5n (width 0.25, depth 0.33)",
    (32, 3): "yolov5s (width 0.5, depth 0.33)",
    (48, 6): "yolov5m (width 0.75, depth 0.67)",
    (64, 9): "yolov5l (width 1, depth 1)",
    (80, 12): "yolov5x (width 1.25, depth 1.33)",
}


def from_ultralytics(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load their state dict (``model.0.conv.weight`` ...) into ``model`` and return it.

    Args:
        model: a ``yolov5*`` built with :func:`ultralytics_arguments` of the same file. The anchors
            are those of its spec.
        state: floats in any precision.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    if not isinstance(model, YoloV5):
        raise WeightsError(f"{ORIGIN}'s weights have no rules for {type(model).__name__}")
    left = {name: value for name, value in state.items() if not _is_anchors(name)}
    stem = "model.0.conv" if isinstance(model.stage1[0], Focus) else "model.0"
    rules: list[Rule] = [("stage1.0", stem)]
    rules += [(ours, f"model.{number}") for number, ours in _MODULES.items()]
    rules += [(f"heads.{i}", f"{_HEADS}.m.{i}") for i in range(len(STRIDES))]
    return load_renamed(model, left, rules, ORIGIN)


def ultralytics_arguments(weights: ForeignWeights, name: str) -> dict[str, Any]:
    """What :func:`~edgeark.zoo.create_model` needs to build the file's network as ``name``.

    Raises:
        WeightsError: the file holds no YOLOv5 of releases 4 to 7 with three heads, or another one
            than ``name``.
    """
    state = weights.state
    stem_name = next(
        (s for s in ("model.0.conv", "model.0.conv.conv") if f"{s}.weight" in state), ""
    )
    _check_is_yolov5(weights, stem_name, name)
    stem = state[f"{stem_name}.weight"]
    focus = stem_name.endswith("conv.conv")
    kernels = {3: "focus"} if focus else {6: "6x6", 3: "3x3"}
    if stem.shape[-1] not in kernels:
        raise WeightsError(f"{weights.path}: no stem of YOLOv5 has a weight of {tuple(stem.shape)}")
    anchors = _anchors(weights)
    outputs, per_scale = len(state[f"{_HEADS}.m.0.weight"]), len(anchors[0])
    count, rest = divmod(outputs, per_scale)
    if rest or count < 6:
        raise WeightsError(f"{weights.path} has {outputs} outputs for {per_scale} anchors a scale")
    old = "model.9.cv3.conv.weight" in state
    arguments: dict[str, Any] = {
        "num_classes": count - 5,
        "in_channels": stem.shape[1] // (4 if focus else 1),
        "stem": kernels[stem.shape[-1]],
        "layout": "v5" if old else "v6",
        "pool": "spp" if old else "sppf",
        "spec": {"anchors": anchors},
    }
    if weights.module is not None:
        _read_module(weights, weights.module, arguments)
    arguments["spec"]["dataset"] = dataset_of(arguments)
    return arguments


def _is_anchors(name: str) -> bool:
    return name in (f"{_HEADS}.anchors", f"{_HEADS}.anchor_grid")


def _check_is_yolov5(weights: ForeignWeights, stem_name: str, name: str) -> None:
    state, head = weights.state, f"{_HEADS}.m.0.weight"
    if "model.2.cv4.conv.weight" in state:
        reason = "it is of release 3 or older (BottleneckCSP), and 4 to 7 can be read"
    elif "model.0.conv.bias" in state or "model.0.conv.conv.bias" in state:
        reason = "its normalisation is folded; import the file that it was made from"
    elif "model.33.m.0.weight" in state:
        reason = "it has four heads (P6), and three can be read"
    elif any(w not in state or state[w].ndim != 4 for w in (f"{stem_name}.weight", head)):
        reason = "it has other layers"
    else:
        blocks = len({key.split(".")[3] for key in state if key.startswith("model.6.m.")})
        channels = len(state[f"{stem_name}.weight"])
        found = _MEMBERS.get((channels, blocks), f"network with a stem of {channels} channels")
        if found.split()[0] != name:
            raise WeightsError(f"{weights.path} is a {found}, no {name}")
        return
    raise WeightsError(f"{weights.path} is no YOLOv5 that can be read: {reason}")


def _anchors(weights: ForeignWeights) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Anchors in pixels. Files have them in units of the stride, old ones in pixels as well."""
    pixels = weights.state.get(f"{_HEADS}.anchor_grid")
    units = weights.state.get(f"{_HEADS}.anchors")
    found = pixels if pixels is not None else units
    if found is None or found.shape[:1] != (3,) or not _are_pairs_of_sizes(found):
        raise WeightsError(f"{weights.path} has no three scales of anchors in {_HEADS}.anchors")
    found = found.reshape(3, -1, 2)
    if pixels is None:
        found = found * found.new_tensor(STRIDES).view(3, 1, 1)
    return tuple(tuple((float(w), float(h)) for w, h in scale) for scale in found.tolist())


def _are_pairs_of_sizes(values: Tensor) -> bool:
    whole = values.numel() > 0 and values.numel() % 6 == 0
    return whole and bool((values > 0).all() and values.isfinite().all())


def _read_module(weights: ForeignWeights, module: Record, arguments: dict[str, Any]) -> None:
    """What a whole module knows beyond its weights: activation, pools, shortcuts, classes.

    Raises:
        WeightsError: where it differs from the network that its weights fit.
    """
    modules = submodules(module)
    old = arguments["layout"] == "v5"
    pyramid = f"model.{8 if old else 9}"
    act = single_act(weights, [part for name, part in modules.items() if name.endswith(".act")])
    pools = [part.state.get("kernel_size") for part in of_class(modules, "MaxPool2d", pyramid)]
    kinds = {"spp": [5, 9, 13], "sppf": [5]}
    kind = modules[pyramid].kind.name.lower() if pyramid in modules else ""
    if pools != kinds.get(kind):
        raise WeightsError(f"{weights.path} has max pools of its own making at {pyramid}")
    for name, part in modules.items():
        wanted = name.startswith(("model.2.", "model.4.", "model.6."))
        wanted |= not old and name.startswith("model.8.")
        if part.kind.name == "Bottleneck" and bool(part.state.get("add")) != wanted:
            raise WeightsError(f"{weights.path} has shortcuts of its own making at {name!r}")
    arguments.update(act=act, pool=kind)
    if names := class_names(weights, module, arguments["num_classes"]):
        arguments["spec"]["classes"] = names
