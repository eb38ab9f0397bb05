"""Weights of a user's own network: safetensors, or PyTorch state dicts, read without any code."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import SourceError
from ...zoo.weights import require_finite

# Where checkpoints of the usual training scripts keep the weights, best first.
_WRAPPERS = (
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema"),
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights"),
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "ema.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file; nothing in it is executed.

    Args:
        path: ``.safetensors``, or a ``.pt``/``.pth`` that ``torch.save`` made of a state dict or of
            a dictionary that holds one (``state_dict``, ``model``, ``ema`` ...).

    Raises:
        SourceError: no such file, broken, or a pickled module.
    """
    if not path.is_file():
        raise SourceError(f"--weights {path}: there is no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
            raise SourceError(f"{path} is not a safetensors file: {error}") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise SourceError(
            f"{path} holds a pickled module or other objects, whose code would have to run: "
            "save its state dict instead, torch.save(model.state_dict(), FILE)"
        ) from None
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path} is not a PyTorch checkpoint: {said}") from None
    return _find_tensors(content, path)


def load_into(model: nn.Module, path: Path) -> None:
    """Load a weights file into a network.

    Prefixes that data parallelism, ``torch.compile`` and EMA wrappers add are taken off.

    Raises:
        SourceError: see :func:`read_state_dict`; or names or shapes do not fit.
    """
    state = read_state_dict(path)
    wanted = model.state_dict()
    state = _strip_prefixes(state, wanted)
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    wrong = [n for n in wanted if n in state and state[n].shape != wanted[n].shape]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or wrong:
        name = (wrong or missing)[0]
        if wrong:
            had, has = tuple(state[name].shape), tuple(wanted[name].shape)
            problem = f"{name} is {had} there and {has} in the network"
        else:
            hint = f"; it has {unknown[0]}, which the network lacks" if unknown else ""
            problem = f"it has no {name}{hint}"
        raise SourceError(f"{path} does not fit this network: {problem}")
    require_finite({name: state[name] for name in wanted if name in state}, path)
    model.load_state_dict({name: state.get(name, wanted[name]) for name in wanted})


def _find_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):  # checkpoints nest a level or two
        if not isinstance(content, Mapping):
            break
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
        inner = next((content[k] for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            break
        content = inner
    raise SourceError(f"{path} has no state dict: no tensors by name, nor under {_WRAPPERS[4]}")


def _strip_prefixes(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that fit best; a prefix that the network itself has stays."""
    candidates = [state]
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        candidates.append(state)
    return max(candidates, key=lambda candidate: sum(name in wanted for name in candidate))
