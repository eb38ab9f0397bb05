"""The register of targets: one file a family.

To add a target: write its class in a file here, name it in ``_FAMILIES``, and give it the five-line
test of ``tests/test_targets.py``.
"""

from __future__ import annotations

import difflib
from importlib import import_module

from ...errors import EdgearkError
from ..target import Target

_FAMILIES = {  # name: module; imported on use, so that a listing costs what it lists
    "onnxruntime": "onnxruntime:OnnxRuntime",
    "torchscript": "torchscript:TorchScript",
    "opencv": "opencv:OpenCv",
    "mnn": "mnn:Mnn",
    "openvino": "openvino:OpenVino",
    "litert": "litert:LiteRt",
    "litert-nchw": "litert:LiteRtNchw",
    "rknn": "rknn:Rknn",
    "rknn-torchscript": "rknn:RknnTorchScript",
    "rknn1": "rknn1:Rknn1",
    "k210": "k210:K210",
    "k210-nncase": "nncase:Nncase",
}


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
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_FAMILIES)}"
        raise TargetError(f"unknown target {full_name!r}; {hint}")
    family = _family(name)
    if chip and chip not in family.chips:
        known = f"its chips are {', '.join(family.chips)}" if family.chips else "it has no chips"
        raise TargetError(f"unknown chip {chip!r} of {name}; {known}")
    if family.chips and not chip:
        raise TargetError(f"{name} needs a chip: {', '.join(f'{name}:{c}' for c in family.chips)}")
    return family(chip or None)


def find_targets(names: str) -> list[Target]:
    """The targets of a comma-separated list, in its order, each once."""
    unique = dict.fromkeys(part.strip() for part in names.split(",") if part.strip())
    if not unique:
        raise TargetError(f"name at least one target, for instance {next(iter(_FAMILIES))}")
    return [find_target(name) for name in unique]


def _family(name: str) -> type[Target]:
    module, _, attribute = _FAMILIES[name].partition(":")
    return getattr(import_module(f".{module}", __name__), attribute)
