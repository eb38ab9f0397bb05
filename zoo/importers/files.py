"""One way into every kind of weights file: tensors by name, and what else the file says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..weights import WeightsError
from .numpy_file import read_npz, read_numpy_pickle
from .safe_pickle import Record
from .torch_file import TorchFile, is_module

_IN_CHECKPOINTS = ("ema", "model", "state_dict")  # where trainers put the weights, best first


@dataclass(frozen=True)
class ForeignWeights:
    """Weights of another origin: tensors in float32 by their own names.

    ``module`` is the record of the whole module, where the file has one: it knows the activation
    and the names of the classes. ``part`` says where in the file the weights were.
    """

    path: Path
    state: Mapping[str, Tensor]
    part: str
    module: Record | None = None
    epoch: int | None = None


def read_foreign(path: Path) -> ForeignWeights:
    """Read ``.pt``, ``.pth``, ``.safetensors``, ``.npz`` or ``.pkl`` (NumPy arrays by name).

    Nothing of the file is executed. Of a checkpoint the averaged weights (``ema``) are taken where
    it has them.

    Raises:
        WeightsError: in one line: no such file, another kind, damaged, or unsafe.
    """
    readers: dict[str, Callable[[Path], ForeignWeights]] = {
        ".pt": _read_torch,
        ".pth": _read_torch,
        ".safetensors": lambda file: _plain(file, _read_safetensors(file)),
        ".npz": lambda file: _plain(file, read_npz(file)),
        ".pkl": lambda file: _plain(file, read_numpy_pickle(file)),
    }
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}")
    if path.suffix.lower() not in readers:
        raise WeightsError(f"{path} is no weights file that is known: {', '.join(readers)} are")
    return readers[path.suffix.lower()](path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None


def _read_torch(path: Path) -> ForeignWeights:
    file = TorchFile(path)
    try:
        part, content, epoch = _find_weights(file.root)
        if is_module(content):
            return _plain(path, file.module_state(content), part, content, epoch)
        named = content.items() if isinstance(content, dict) else ()
        tensors = {str(name): file.tensor(value) for name, value in named}
        state = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if not state:  # some files note plain facts among the tensors: those are left aside
            raise WeightsError(f"{path} holds neither a module nor a dict of tensors by name")
        return _plain(path, state, part, None, epoch)
    finally:
        file.close()


def _find_weights(root: Any) -> tuple[str, Any, int | None]:
    """Which part of a file the weights are, and the epoch of a checkpoint that was not finished."""
    if isinstance(root, dict):
        epoch = root.get("epoch")
        epoch = epoch if type(epoch) is int and epoch >= 0 else None  # -1: finished, and stripped
        for part in _IN_CHECKPOINTS:
            if isinstance(root.get(part), dict) or is_module(root.get(part)):
                return part, root[part], epoch
        return "state dict", root, None
    return "module", root, None


def _plain(
    path: Path,
    state: Mapping[str, Tensor],
    part: str = "state dict",
    module: Record | None = None,
    epoch: int | None = None,
) -> ForeignWeights:
    """Float32 throughout; the files hold half precision, or what a trainer's device had."""
    floats = {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    return ForeignWeights(path, floats, part, module, epoch)
