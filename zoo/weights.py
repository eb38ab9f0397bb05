"""Trained weights: safetensors files, each with the spec of its network inside.

The weights that ship with edgeark lie in the package and load offline; ``SHA256SUMS`` beside them
guards against a truncated checkout. A safetensors file holds no code, so any file may be opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.catalog import SPEC_KEY, WEIGHTS_DIR, packaged_weights
from ..core.scratch import held_file
from ..errors import EdgearkError
from .spec import name_of

# What a trained file says of its network; the rest of the spec is the family's.
_VERDICTS_KEY = "verdicts"
_MOST_VERDICTS, _LONGEST_VERDICT = 20, 500  # lines, characters
_SPEC_FIELDS = (
    *("input_size", "color", "mean", "std", "classes", "dataset"),
    *("strides", "anchors", "arguments"),
)


class WeightsError(EdgearkError):
    """A weights file is missing, broken, or made for another network."""


def load_weights(model: nn.Module, path: str | Path | None = None) -> nn.Module:
    """Load ``path``, or the weights that ship with edgeark, into ``model`` and return it.

    Raises:
        WeightsError: no such file, not a safetensors file, or tensors of other names or shapes.
    """
    path = require_shipped(name_of(model)) if path is None else Path(path)
    return load_state(model, read_state(path), str(path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """Load tensors by name into ``model``, all of them, and return it; ``source`` names them.

    Raises:
        WeightsError: tensors of other names or shapes, or undefined values.
    """
    if problem := _mismatch(model.state_dict(), state):
        raise WeightsError(f"{source} does not fit this network: {problem}")
    require_finite(state, source)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # values that this network refuses, for instance anchors
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{source} does not fit this network: {reason}") from None
    return model


def require_shipped(name: str) -> Path:
    """Path of the weights that ship for ``name``, whole.

    Raises:
        WeightsError: there are none, or the file is damaged.
    """
    path = packaged_weights(name)
    if not path.exists():
        raise WeightsError(f"no trained weights ship for {name}; train it or give a file")
    _check_digest(path)
    return path


def save_weights(model: nn.Module, path: str | Path, info: Mapping[str, str] | None = None) -> Path:
    """Write the model's weights and its spec to a safetensors file, atomically.

    Args:
        model: a model of :func:`create_model`; its ``spec`` is stored in the file's header.
        path: the file to write; replaced only when the new one is complete.
        info: further text for the header, for instance the metric and the seed.

    Raises:
        WeightsError: it cannot be written; an earlier file of that name is kept.
    """
    header = {"format": "pt", **(info or {})}
    if (spec := getattr(model, "spec", None)) is not None:
        fields = spec.to_dict()
        header[SPEC_KEY] = json.dumps({key: fields[key] for key in _SPEC_FIELDS}, allow_nan=False)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    return _write(Path(path), state, header)


def add_verdicts(path: str | Path, verdicts: Sequence[str]) -> None:
    """Note in a weights file what is to be known of its training: :func:`read_verdicts`."""
    state, header = _read(Path(path))
    _write(Path(path), state, {**header, _VERDICTS_KEY: json.dumps(list(verdicts))})


def read_verdicts(path: str | Path) -> tuple[str, ...]:
    """What the training that made a weights file said of its test; nothing of other files."""
    _, header = _read(Path(path), tensors=False)
    try:
        found = json.loads(header.get(_VERDICTS_KEY, "[]"))
    except (ValueError, RecursionError):
        return ()
    lines = found[:_MOST_VERDICTS] if isinstance(found, list) else ()
    return tuple(line[:_LONGEST_VERDICT] for line in lines if isinstance(line, str))


def _write(path: Path, state: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with held_file(path, f".partial{path.suffix}") as partial:
        try:
            save_file(dict(state), partial, metadata=dict(header))
        except SafetensorError as error:
            raise WeightsError(f"cannot write {path} ({error}); is the disk full?") from error
        partial.chmod(0o644)
        partial.replace(path)
    return path


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name.

    Raises:
        WeightsError: no such file, or not a safetensors file.
    """
    return _read(Path(path))[0]


def read_header(path: str | Path) -> dict[str, str]:
    """What a weights file says of itself: epoch, metric, seed ...; without the spec."""
    _, header = _read(Path(path), tensors=False)
    return {k: v for k, v in header.items() if k not in (SPEC_KEY, _VERDICTS_KEY, "format")}


def read_spec_overrides(path: str | Path) -> dict[str, Any]:
    """The spec fields stored in a weights file; empty for a file of another origin."""
    _, header = _read(Path(path), tensors=False)
    if SPEC_KEY not in header:
        return {}
    try:
        fields = json.loads(header[SPEC_KEY])
        if Path(path).parent != WEIGHTS_DIR:  # the files that ship are known by their digests
            from .stored_spec import check_stored

            fields = check_stored(fields)
        return {key: _as_tuple(fields[key]) for key in _SPEC_FIELDS if key in fields}
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} has a broken spec in its header: {error}") from None


def _as_tuple(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuple(each) for key, each in value.items()}
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            keys = file.keys() if tensors else ()
            return {key: file.get_tensor(key) for key in keys}, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None


def require_finite(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights that hold infinite or undefined values.

    Raises:
        WeightsError: the first tensor that does.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{path}: {name} holds infinite or undefined values: the training diverged, or the "
                "file is damaged"
            )


def _mismatch(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """What keeps ``found`` from being loaded, in words; None when it fits."""
    if missing := sorted(wanted.keys() - found.keys()):
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    if surplus := sorted(found.keys() - wanted.keys()):
        return f"{len(surplus)} tensors are unknown, the first is {surplus[0]}"
    for key, tensor in wanted.items():
        if tensor.shape != found[key].shape:
            return f"{key} is {tuple(found[key].shape)} in the file, {tuple(tensor.shape)} here"
    return None


def _check_digest(path: Path) -> None:
    sums = path.with_name("SHA256SUMS")
    if not sums.exists():
        return
    digests = dict(line.split()[::-1] for line in sums.read_text().splitlines() if line.strip())
    expected = digests.get(path.name)
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise WeightsError(f"{path} is damaged (SHA-256 differs); fetch the package again")
