"""``layers.json`` in an export's folder: what each layer loses, as ``layers`` measured it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ...core.files import read_file
from ...core.messages import describe_invalid
from ...errors import EdgearkError
from ...training.checkpoint import atomic_path
from ..targets import find_target
from ..targets.base import LayerError, Precision
from .folder import MANIFEST

LAYERS = "layers.json"


@dataclass(frozen=True)
class LayerReport:
    """The layers of a model on a target, in the order of computation."""

    model: str
    target: str
    precision: Precision
    layers: list[LayerError]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_REPORT = TypeAdapter(LayerReport)


def write_layers(exports: Path, report: LayerReport) -> Path:
    """Write it into the folder of its export, one of those below ``exports``.

    Raises:
        EdgearkError: there is no such export.
    """
    folder = exports / report.model / find_target(report.target).folder_name / report.precision
    if not (folder / MANIFEST).exists():
        raise EdgearkError(f"there is no export in {folder}: edgeark export writes it")
    with atomic_path(folder / LAYERS) as partial:
        text = json.dumps(report.to_dict(), indent=1, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    return folder / LAYERS


def read_layers(folder: Path) -> LayerReport | None:
    """What is in the folder of an export; None where nobody measured its layers.

    Raises:
        EdgearkError: the file is not one.
    """
    path = folder / LAYERS
    try:
        content = read_file(path)
        from_json(content, allow_inf_nan=False)
        return _REPORT.validate_json(content, strict=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EdgearkError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise EdgearkError(f"{path}: {describe_invalid(error)}") from None
    except ValueError as error:
        raise EdgearkError(f"{path} is not JSON: {error}") from None
