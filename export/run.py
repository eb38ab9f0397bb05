"""Run a network on an image: a model of the zoo, an export, or a lone kmodel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, EdgearkError
from ..limited import MOST_IMAGE_BYTES, read_file
from ..training.data.pixels import decode
from ..zoo.modes import evaluating
from ..zoo.registry import create_model, list_models
from ..zoo.spec import ModelSpec, spec_of
from ..zoo.tasks.images import to_input
from .graph.files import run_pytorch
from .results.folder import MANIFEST
from .tasks import get_task
from .verify import reopen, run_export

_KMODEL = ".kmodel"


@dataclass(frozen=True)
class Answer:
    """Raw outputs, ``[1, ...]`` each, and what they say; see :meth:`Task.postprocess`."""

    outputs: Sequence[np.ndarray]
    meaning: dict[str, Any] = field(default_factory=dict)


def answer_image(subject: str, image: Path, weights: Path | None = None) -> Answer:
    """What a network says of an image, which is brought to the network's size.

    Args:
        subject: the name of a model, which PyTorch runs; the folder of an export or a file in it,
            which its target runs; or a kmodel v3 without a manifest, of which nothing but the raw
            outputs is known.
        image: an image file.
        weights: a safetensors file for a model; by default the weights that ship.

    Raises:
        EdgearkError: there is no such thing, nothing here runs it, or it is broken.
        DataError: the image cannot be read.
    """
    path = Path(subject)
    if not path.exists():
        if subject not in list_models():
            raise EdgearkError(
                f"cannot run {subject}: name the folder of an export, a {_KMODEL} or a model "
                f"(edgeark models)"
            )
        return _run_model(subject, read_image(image), weights)
    if weights is not None:
        raise EdgearkError("--weights is for a model of the zoo: an export has its own")
    if path.is_dir() or (path.parent / MANIFEST).exists():
        export = reopen(path)
        spec = export.manifest.spec
        task = get_task(spec.task)
        model_input = task.preprocess(spec, read_image(image))
        outputs = _finite(run_export(export, model_input.x), subject)
        return Answer(outputs, task.postprocess(spec, outputs, model_input))
    if path.suffix.lower() != _KMODEL:
        raise EdgearkError(
            f"cannot run {path.name}: no {MANIFEST} is beside it, and it is no {_KMODEL}"
        )
    return Answer(_run_kmodel(path, read_image(image)))


def _finite(outputs: Sequence[np.ndarray], subject: str) -> Sequence[np.ndarray]:
    for index, output in enumerate(outputs):
        if output.size == 0 or not np.isfinite(output).all():
            raise EdgearkError(
                f"{subject} answers nothing that can be read: its output {index} holds infinite or "
                "undefined values, or none"
            )
    return outputs


def read_image(path: Path) -> np.ndarray:
    """An image file as uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), the way up that its camera says.

    Raises:
        DataError: Pillow cannot read it.
    """
    try:
        return decode(read_file(path, MOST_IMAGE_BYTES))
    except (OSError, DataError) as error:
        raise DataError(f"cannot read the image {path}: {error}") from None


def _run_model(name: str, image: np.ndarray, weights: Path | None) -> Answer:
    model = create_model(name, pretrained=weights is None, weights=weights)
    spec: ModelSpec = spec_of(model)
    task = get_task(spec.task)
    model_input = task.preprocess(spec, image)
    with evaluating(model):
        outputs = _finite(run_pytorch(model, spec, model_input.x), name)
    return Answer(outputs, task.postprocess(spec, outputs, model_input))


def _run_kmodel(path: Path, image: np.ndarray) -> list[np.ndarray]:
    """On the K210 simulator; pixels go in as they are, 0..255."""
    from .kpu import KmodelError, Simulator, read_kmodel
    from .kpu.layer import MAIN_BYTES

    with path.open("rb") as file:
        data = file.read(MAIN_BYTES + 1)
    try:
        simulator = Simulator(read_kmodel(data))
        shape = simulator.input.shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise KmodelError(f"its input is {list(shape)}, which is no image")
        channels, *size = shape
        return simulator.run(to_input(image, (size[0], size[1]), channels))
    except KmodelError as error:
        raise KmodelError(f"{path.name}: {error}") from None
