"""Run a network on an image: one of any origin, an export, or a lone kmodel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, EdgearkError
from ..limited import MOST_IMAGE_BYTES, read_file
from ..scratch import scratch_folder
from ..shipped import NETWORK_FILES
from ..training.data.pixels import decode
from ..words import format_shape
from ..zoo.modes import evaluating
from ..zoo.registry import create_model
from ..zoo.spec import ModelSpec, spec_of
from ..zoo.tasks.images import to_input
from .graph.files import run_pytorch
from .request import NetworkRequest
from .results.folder import MANIFEST
from .results.tables import ResultList
from .sources.samples import ARRAYS, read_samples
from .tasks import get_task
from .verify import reopen, run_export

_KMODEL = ".kmodel"


_COLUMNS = {
    "classes": {"name": "class", "index": "index", "score": "probability"},
    "detections": {"name": "class", "score": "score", "box": "box"},
}


@dataclass(frozen=True)
class _AnswerRow:
    cells: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.cells


@dataclass(frozen=True)
class Answer:
    """Raw outputs, ``[1, ...]`` each, and what they say; see :meth:`Task.postprocess`."""

    outputs: Sequence[np.ndarray]
    meaning: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self._rows())

    def _repr_html_(self) -> str:
        return self._rows()._repr_html_()

    def _rows(self) -> ResultList[_AnswerRow]:
        """What was recognised; else what the raw outputs are."""
        for key, columns in _COLUMNS.items():
            if key in self.meaning:
                return ResultList(map(_AnswerRow, self.meaning[key]), columns)
        facts = [
            {"output": i, "shape": format_shape(o.shape), "least": float(o.min()),
             "greatest": float(o.max())}
            for i, o in enumerate(self.outputs)
        ]  # fmt: skip
        return ResultList(map(_AnswerRow, facts), {name: name for name in facts[0]})


def answer_image(request: str | NetworkRequest, image: Path) -> Answer:
    """What a network says of an image, which is brought to the network's size.

    Args:
        request: a network, which PyTorch runs (ONNX Runtime an ONNX file); the folder of an export
            or a file in it, which its target runs; or a kmodel v3 without a manifest, of which
            nothing but the raw outputs is known.
        image: an image file; an array, .npy or .npz, for a network that takes tensors.

    Raises:
        EdgearkError: there is no such thing, nothing here runs it, or it is broken.
        DataError: the image cannot be read.
    """
    given = NetworkRequest(request) if isinstance(request, str) else request
    path = Path(str(given.network))
    is_kmodel = path.suffix.lower() == _KMODEL
    if (is_export(path) or is_kmodel) and given != NetworkRequest(given.network):
        raise EdgearkError(f"{path} has its own weights and shapes: leave the options out")
    if is_export(path):
        export = reopen(path)
        return _answer(export.manifest.spec, image, lambda x: run_export(export, x))
    if is_kmodel and not path.exists():
        raise EdgearkError(f"there is no {path}")
    if is_kmodel:
        return Answer(_run_kmodel(path, read_image(image)))
    if path.is_file() and path.suffix.lower() not in NETWORK_FILES:
        raise EdgearkError(
            f"cannot run {path.name}: no {MANIFEST} is beside it, and it is no network or {_KMODEL}"
        )
    if given.is_measured:
        model = create_model(
            str(given.network), pretrained=given.weights is None, weights=given.weights
        )
        spec: ModelSpec = spec_of(model)
        with evaluating(model):
            return _answer(spec, image, lambda x: run_pytorch(model, spec, x))
    source = given.source
    with scratch_folder("run") as scratch:
        graph = source.make_graph(Path(scratch))
        return _answer(source.spec, image, lambda x: graph.reference(x, batch=1))


def is_export(path: Path) -> bool:
    """Whether it is an export's folder, or a file in one."""
    return path.is_dir() or (path.is_file() and (path.parent / MANIFEST).exists())


def _answer(
    spec: ModelSpec, image: Path, network: Callable[[np.ndarray], Sequence[np.ndarray]]
) -> Answer:
    if spec.inputs or image.suffix.lower() in ARRAYS:
        return Answer(_finite(network(read_samples([image], spec, 1)), spec))
    task = get_task(spec.task)
    model_input = task.preprocess(spec, read_image(image))
    outputs = _finite(network(model_input.x), spec)
    return Answer(outputs, task.postprocess(spec, outputs, model_input))


def _finite(outputs: Sequence[np.ndarray], spec: ModelSpec) -> Sequence[np.ndarray]:
    for index, output in enumerate(outputs):
        if output.size == 0 or not np.isfinite(output).all():
            raise EdgearkError(
                f"{spec.description}: output {index} of its answer holds infinite or "
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
