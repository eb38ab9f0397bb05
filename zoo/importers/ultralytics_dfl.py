"""Ultralytics' YOLOv8 and YOLO11 detection weights into ours; none of their code is needed.

Their modules are numbered: the backbone from 0, then the neck, then the heads. A split block has
one convolution where ours has two, and an attention one for queries, keys and values: those are
taken apart by their output channels, which is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..dfl import BINS, STRIDES, Bottleneck, DflDetector, SplitBlock
from ..layers import SPPF, ConvBnAct
from ..weights import WeightsError
from ..yolo11 import Attention, C2Psa, C3k, Yolo11
from ..yolov8 import YoloV8
from .files import ForeignWeights
from .rules import Rule, load_renamed
from .safe_pickle import Record
from .torch_file import submodules
from .ultralytics_module import ORIGIN, class_names, dataset_of, of_class, single_act


@dataclass(frozen=True)
class _Layout:
    """One family: our modules by their numbers, the heads' number, and how the members differ."""

    title: str
    family: type[DflDetector]
    modules: Mapping[int, str]
    heads: int
    # Channels of the stem, blocks of the fourth stage, whether the second stage's blocks are C3k.
    members: Mapping[tuple[int, int, bool], str]
    plain_neck: bool  # bottlenecks of the neck are without shortcuts


_BACKBONE = {
    **{0: "stage1.0", 1: "stage2.0", 2: "stage2.1", 3: "stage3.0", 4: "stage3.1"},
    **{5: "stage4.0", 6: "stage4.1", 7: "stage5.0", 8: "stage5.1", 9: "stage5.2"},
}
_SHRINKING = (0, 1, 3, 5, 7)  # stride 2; the neck's two are found by their names
_LAYOUTS = (
    _Layout(
        "YOLOv8",
        YoloV8,
        {
            **_BACKBONE,
            **{12: "down4", 15: "down3", 16: "shrink3", 18: "up4", 19: "shrink4", 21: "up5"},
        },
        heads=22,
        members={
            (16, 2, False): "yolov8n",
            (32, 2, False): "yolov8s",
            (48, 4, False): "yolov8m",
            (64, 6, False): "yolov8l",
            (80, 6, False): "yolov8x",
        },
        plain_neck=True,
    ),
    _Layout(
        "YOLO11",
        Yolo11,
        {
            **_BACKBONE,
            **{10: "stage5.3", 13: "down4", 16: "down3", 17: "shrink3"},
            **{19: "up4", 20: "shrink4", 22: "up5"},
        },
        heads=23,
        members={
            (16, 1, False): "yolo11n",
            (32, 1, False): "yolo11s",
            (64, 1, True): "yolo11m",
            (64, 2, True): "yolo11l",
            (96, 2, True): "yolo11x",
        },
        plain_neck=False,
    ),
)


def from_ultralytics_dfl(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load their state dict (``model.0.conv.weight`` ...) into ``model`` and return it.

    Args:
        model: a ``yolov8*`` or ``yolo11*`` built with :func:`dfl_arguments` of the same file.
        state: floats in any precision.

    Raises:
        WeightsError: the model is of another family, or the state dict of another network.
    """
    layout = next((each for each in _LAYOUTS if type(model) is each.family), None)
    if layout is None:
        raise WeightsError(f"{ORIGIN}'s weights have no rules for {type(model).__name__}")
    left = dict(state)
    left.pop(_bins_name(layout), None)  # the constants 0, 1, ...: :func:`dfl_arguments` looks
    rules: list[Rule] = []
    for number, ours in layout.modules.items():
        rules += _module(model.get_submodule(ours), ours, f"model.{number}", left)
    for i in range(len(STRIDES)):
        for ours, theirs in (("box", "cv2"), ("classes", "cv3")):
            branch = model.get_submodule(f"heads.{i}.{ours}")
            names = _branch_names(branch, f"model.{layout.heads}.{theirs}.{i}")
            rules += [(f"heads.{i}.{ours}.{j}", name) for j, name in enumerate(names)]
    return load_renamed(model, left, rules, ORIGIN)


def dfl_arguments(weights: ForeignWeights, name: str) -> dict[str, Any]:
    """What :func:`~edgeark.zoo.create_model` needs to build the file's network as ``name``.

    Raises:
        WeightsError: the file holds no YOLOv8 or YOLO11 that detects, or another one than ``name``.
    """
    layout = next((each for each in _LAYOUTS if name in each.members.values()), None)
    if layout is None:
        raise WeightsError(f"{ORIGIN}'s weights have no rules for {name}")
    _check_is_member(weights, layout, name)
    stem = weights.state["model.0.conv.weight"]
    classes = weights.state[_last_name(layout, "cv3")]
    arguments: dict[str, Any] = {
        "num_classes": len(classes),
        "in_channels": stem.shape[1],
        "spec": {},
    }
    if weights.module is not None:
        _read_module(weights, weights.module, layout, arguments)
    arguments["spec"]["dataset"] = dataset_of(arguments)
    return arguments


def _bins_name(layout: _Layout) -> str:
    return f"model.{layout.heads}.dfl.conv.weight"


def _last_name(layout: _Layout, branch: str) -> str:
    return f"model.{layout.heads}.{branch}.0.2.weight"


def _check_is_member(weights: ForeignWeights, layout: _Layout, name: str) -> None:
    state = weights.state
    maps = [state.get(_last_name(layout, branch)) for branch in ("cv2", "cv3")]
    stem = state.get("model.0.conv.weight")
    others = {f"model.{layout.heads}.{part}." for part in ("cv4", "proto", "one2one_cv2")}
    if "model.0.conv.bias" in state:
        reason = "its normalisation is folded; import the file that it was made from"
    elif any(value is None or value.ndim != 4 or not value.numel() for value in (*maps, stem)):
        reason = "it has other layers"
    elif any(key.startswith(tuple(others)) for key in state):
        reason = "it does more than detect (masks, poses, turned boxes)"
    elif len(state[_last_name(layout, "cv2")]) != 4 * BINS or not _are_bins(state, layout):
        reason = f"its boxes have other bins than 0 to {BINS - 1}"
    else:
        channels = len(state["model.0.conv.weight"])
        blocks = len({key.split(".")[3] for key in state if key.startswith("model.6.m.")})
        nested = "model.2.m.0.cv3.conv.weight" in state
        other = f"{layout.title} with a stem of {channels} channels"
        found = layout.members.get((channels, blocks, nested), other)
        if found != name:
            raise WeightsError(f"{weights.path} is a {found}, no {name}")
        return
    raise WeightsError(f"{weights.path} is no {layout.title} that can be read: {reason}")


def _are_bins(state: Mapping[str, Tensor], layout: _Layout) -> bool:
    bins = state.get(_bins_name(layout))
    return bins is None or torch.equal(bins.flatten(), torch.arange(float(BINS)))


def _read_module(
    weights: ForeignWeights, module: Record, layout: _Layout, arguments: dict[str, Any]
) -> None:
    """What a whole module knows beyond its weights: activation, shortcuts, pools, classes.

    Raises:
        WeightsError: where it differs from the network that its weights fit.
    """
    modules = submodules(module)
    linear = {name: part for name, part in modules.items() if name.endswith(_LINEAR)}
    acts = [p for name, p in modules.items() if name.endswith(".act") and name not in linear]
    if any(part.kind.name != "Identity" for part in linear.values()):
        raise WeightsError(f"{weights.path} has activations in its attention")
    arguments["act"] = single_act(weights, acts)
    pools = [part.state.get("kernel_size") for part in of_class(modules, "MaxPool2d", "model.9")]
    pyramid = modules.get("model.9")
    if pools != [5] or pyramid is None or pyramid.state.get("n", 3) != 3:
        raise WeightsError(f"{weights.path} has max pools of its own making at model.9")
    for name, part in modules.items():
        in_neck = name.startswith("model.") and int(name.split(".")[1]) > 10
        wanted = not (in_neck and layout.plain_neck)
        if part.kind.name in ("Bottleneck", "PSABlock") and bool(part.state.get("add")) != wanted:
            raise WeightsError(f"{weights.path} has shortcuts of its own making at {name!r}")
    if pyramid.state.get("add"):
        raise WeightsError(f"{weights.path} has shortcuts of its own making at 'model.9'")
    neck = [number for number, ours in layout.modules.items() if ours.startswith("shrink")]
    for number in (*_SHRINKING, *neck):
        conv = modules.get(f"model.{number}.conv")
        if conv is None or conv.state.get("stride") != (2, 2):
            raise WeightsError(f"{weights.path} has strides of its own making at model.{number}")
    if names := class_names(weights, module, arguments["num_classes"]):
        arguments["spec"]["classes"] = names


_LINEAR = (".attn.qkv.act", ".attn.proj.act", ".attn.pe.act", ".ffn.1.act")


# Rules by the kind of our module. What theirs joins is taken apart in ``left``, in place.


def _module(module: nn.Module, ours: str, theirs: str, left: dict[str, Tensor]) -> list[Rule]:
    if isinstance(module, ConvBnAct):
        return [(ours, theirs)]
    if isinstance(module, SPPF):
        return [(f"{ours}.{cv}", f"{theirs}.{cv}") for cv in ("cv1", "cv2")]
    if isinstance(module, Bottleneck):
        return [(f"{ours}.{cv}", f"{theirs}.{cv}") for cv in ("cv1", "cv2")]
    if isinstance(module, C3k):
        pairs = (("through", "cv1"), ("past", "cv2"), ("mix", "cv3"))
        rules = [(f"{ours}.{a}", f"{theirs}.{b}") for a, b in pairs]
        return rules + _blocks(module.blocks, ours, theirs, left)
    if isinstance(module, (SplitBlock, C2Psa)):
        hidden = module.past.conv.out_channels
        _take_apart(
            left, f"{theirs}.cv1", {"past": range(hidden), "through": range(hidden, 2 * hidden)}
        )
        rules = [(f"{ours}.{part}", f"{theirs}.cv1.{part}") for part in ("past", "through")]
        rules.append((f"{ours}.mix", f"{theirs}.cv2"))
        return rules + _blocks(module.blocks, ours, theirs, left)
    attention = module.get_submodule("attention")
    rules = _attention(attention, f"{ours}.attention", f"{theirs}.attn", left)
    return rules + [(f"{ours}.feed.{i}", f"{theirs}.ffn.{i}") for i in range(2)]


def _blocks(
    blocks: nn.ModuleList | nn.Sequential, ours: str, theirs: str, left: dict[str, Tensor]
) -> list[Rule]:
    return [
        rule
        for i, block in enumerate(blocks)
        for rule in _module(block, f"{ours}.blocks.{i}", f"{theirs}.m.{i}", left)
    ]


def _attention(module: nn.Module, ours: str, theirs: str, left: dict[str, Tensor]) -> list[Rule]:
    """Their channels go head by head: its queries, its keys, its values."""
    rules = [(f"{ours}.position", f"{theirs}.pe"), (f"{ours}.project", f"{theirs}.proj")]
    if not isinstance(module, Attention):
        raise WeightsError(f"{ORIGIN}'s weights have attention; build it with attention=True")
    keys, values = (
        conv.out_channels // module.heads for conv in (module.key.conv, module.value.conv)
    )
    sizes = {"query": keys, "key": keys, "value": values}
    rows: dict[str, list[int]] = {part: [] for part in sizes}
    start = 0
    for _ in range(module.heads):
        for part, size in sizes.items():
            rows[part] += range(start, start + size)
            start += size
    _take_apart(left, f"{theirs}.qkv", rows)
    return rules + [(f"{ours}.{part}", f"{theirs}.qkv.{part}") for part in sizes]


def _take_apart(left: dict[str, Tensor], theirs: str, rows: Mapping[str, Sequence[int]]) -> None:
    """Give each part of a convolution with normalisation the output channels ``rows`` of it.

    What is too short stays whole, and is refused by its name as any tensor of another shape.
    """
    count = sum(map(len, rows.values()))
    for name in [name for name in left if name.startswith(f"{theirs}.")]:
        value = left[name]
        if name.endswith("num_batches_tracked"):
            del left[name]
        elif value.ndim and len(value) == count:
            del left[name]
            for part, chosen in rows.items():
                left[f"{theirs}.{part}.{name.removeprefix(theirs + '.')}"] = value[list(chosen)]


def _branch_names(branch: nn.Module, theirs: str) -> list[str]:
    """Their names of a head's layers: YOLO11's class branch holds pairs."""
    count = len(list(branch.children()))
    if count == 3:
        return [f"{theirs}.{i}" for i in range(3)]
    return [*(f"{theirs}.{i}.{j}" for i in range(2) for j in range(2)), f"{theirs}.2"]
