"""The register of targets: one file a family.

To add a target: write its class in a file here, name it in ``_FAMILIES``, and give it the five-line
test of ``tests/test_targets.py``.
"""

from __future__ import annotations

import difflib
from collections.abc import Container
from importlib import import_module
from typing import get_args

from ...errors import EdgearkError
from ..target import Group, Target

_FAMILIES = {  # name: module; imported on use, so that a listing costs what it lists
    "onnxruntime": "onnxruntime:OnnxRuntime",
    "torchscript": "torchscript:TorchScript",
    "opencv": "opencv:OpenCv",
    "opencv5": "opencv:OpenCv5",
    "mnn": "mnn:Mnn",
    "openvino": "openvino:OpenVino",
    "ncnn": "ncnn:Ncnn",
    "pplnn": "pplnn:PplNn",
    "tensorrt": "tensorrt:TensorRt",
    "litert": "litert:LiteRt",
    "litert-nchw": "litert:LiteRtNchw",
    "executorch": "executorch:ExecuTorch",
    "coreml": "coreml:CoreMl",
    "rknn": "rknn:Rknn",
    "rknn-torchscript": "rknn:RknnTorchScript",
    "rknn1": "rknn1:Rknn1",
    "ethos-u": "ethos_u:EthosU",
    "k210": "k210:K210",
    "k210-nncase": "nncase:Nncase",
    "k210-nncase-tflite": "nncase:NncaseTflite",
}

_ALL = "all"
GROUPS = (_ALL, *get_args(Group))


class TargetError(EdgearkError):
    """A target name that does not exist."""


def list_targets() -> list[str]:
    """Every ``family[:chip]``."""
    return [
        f"{name}:{chip}" if chip else name
        for name in _FAMILIES
        for chip in _family(name).chips or (None,)
    ]


def find_target(full_name: str) -> Target:
    """The target of ``family[:chip]``.

    Raises:
        TargetError: no such family or chip; a family with chips needs one.
    """
    name, _, chip = full_name.strip().lower().partition(":")
    if name not in _FAMILIES:
        near = difflib.get_close_matches(name, _FAMILIES, n=1)
        every = ", ".join([*_FAMILIES, *GROUPS])
        hint = f"did you mean {near[0]}?" if near else f"there are {every}"
        raise TargetError(f"unknown target {full_name!r}; {hint}")
    family = _family(name)
    if chip and chip not in family.chips:
        known = f"its chips are {', '.join(family.chips)}" if family.chips else "it has no chips"
        raise TargetError(f"unknown chip {chip!r} of {name}; {known}")
    if family.chips and not chip:
        raise TargetError(f"{name} needs a chip: {', '.join(f'{name}:{c}' for c in family.chips)}")
    return family(chip or None)


def find_targets(names: str, fitting: Container[str] | None = None) -> list[Target]:
    """The targets of a comma-separated list, in its order, each once.

    Args:
        names: of targets; ``cpu``, ``npu`` and ``mcu`` are groups, ``all`` is all of these, a chip
            of each family. ``rknn:all`` is every chip of a family.
        fitting: the families that the network is made for: of a group's, those that fit few
            networks are left out where they are not among them. None leaves out none.

    Raises:
        TargetError: an unknown name, or none.
    """
    unique: dict[str, None] = {}
    for part in (part.strip().lower() for part in names.split(",") if part.strip()):
        unique |= dict.fromkeys(_expand(part, fitting))
    if not unique:
        raise TargetError(f"name at least one target, for instance {next(iter(_FAMILIES))}")
    return [find_target(name) for name in unique]


def family_of(name: str) -> type[Target]:
    """The family of a target's name, or of its own.

    Raises:
        TargetError: no such family.
    """
    family, _, chip = name.strip().lower().partition(":")
    return type(find_target(name)) if chip or family not in _FAMILIES else _family(family)


def _expand(name: str, fitting: Container[str] | None) -> list[str]:
    """The names of targets that a name stands for."""
    family, _, chip = name.partition(":")
    if family in _FAMILIES and chip == _ALL and _family(family).chips:
        return [f"{family}:{each}" for each in _family(family).chips]
    if name not in GROUPS:
        return [name]
    members = [(member, _family(member)) for member in _FAMILIES]
    return [
        f"{member}:{cls.chips[0]}" if cls.chips else member
        for member, cls in members
        if name in (_ALL, cls.group)
        and not cls.is_alternative
        and (not cls.is_choosy or fitting is None or member in fitting)
    ]


def _family(name: str) -> type[Target]:
    module, _, attribute = _FAMILIES[name].partition(":")
    return getattr(import_module(f".{module}", __name__), attribute)
