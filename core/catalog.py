"""What ships with edgeark, known without importing PyTorch: the zoo's models and their weights."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import ModelError, SourceError
from .messages import suggest

INDEX = Path(__file__).resolve().parents[1] / "zoo" / "index.json"  # `make docs` writes it
WEIGHTS_DIR = Path(__file__).resolve().parents[1] / "weights"
NETWORK_FILES = (".onnx", ".pt", ".pth", ".pt2", ".torchscript", ".ts")
HUBS = ("timm", "torchvision")
SPEC_KEY = "edgeark_spec"  # of a safetensors file's header: what it knows of its network


def packaged_weights(name: str) -> Path:
    """Path of the weights that ship for model ``name``; it may not exist."""
    return WEIGHTS_DIR / f"{name}.safetensors"


def trained_facts(name: str) -> dict[str, Any] | None:
    """What the weights that ship for ``name`` know: ``dataset``, ``classes`` and ``input_size``.

    None where no weights ship.
    """
    path = packaged_weights(name)
    if not path.exists():
        return None
    with path.open("rb") as file:  # the library would import NumPy
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    said = json.loads(header["__metadata__"][SPEC_KEY])
    return {key: said[key] for key in ("dataset", "classes", "input_size")}


@functools.cache
def shipped_models() -> dict[str, dict[str, Any]]:
    """The fields of each model's :class:`~edgeark.zoo.ModelSpec`, by name."""
    return json.loads(INDEX.read_text(encoding="utf-8"))


_registered: set[str] = set()


def note_model(name: str) -> None:
    """A model is registered: one of the zoo, or of a program of the user's own."""
    _registered.add(name)


def is_model_name(named: str) -> bool:
    """Whether it can be nothing but a model of the zoo: no path, no file, no ``MODULE:NAME``."""
    path = Path(named)
    return path.name == named and path.suffix == "" and ":" not in named


def unknown_model(name: str, known: Iterable[str]) -> ModelError:
    """The error for a name that no model has; it offers the nearest ones."""
    hint = suggest(name, sorted(known), "edgeark models lists those that there are")
    return ModelError(f"unknown model {name!r}; {hint}")


def require_network(named: str) -> None:
    """Say at once what cannot be a network; what can is opened later.

    Raises:
        SourceError: there is no such file.
        ModelError: no model of the zoo has that name.
    """
    where, separator, _ = named.rpartition(":")
    hub = named.partition(":")[0]
    if separator and hub not in HUBS and where.endswith(".py") and not Path(where).is_file():
        raise SourceError(f"no file {where}")
    if Path(named).suffix.lower() in NETWORK_FILES and not Path(named).is_file():
        raise SourceError(f"there is no file {named}")
    if separator or Path(named).exists():
        return
    known = {*shipped_models(), *_registered}
    if is_model_name(named) and named not in known:
        raise unknown_model(named, known)
    if not is_model_name(named):
        raise SourceError(f"there is no {named}; a network in a file is FILE.py:FACTORY")
