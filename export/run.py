"""Run a network on images: one of any origin, an export, or a lone kmodel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..core.catalog import NETWORK_FILES
from ..core.files import MOST_IMAGE_BYTES, read_file
from ..core.messages import format_shape
from ..core.scratch import scratch_folder
from ..errors import DataError, EdgearkError
from ..training.data.pixels import decode
from ..zoo.modes import evaluating
from ..zoo.registry import create_model
from ..zoo.spec import ModelSpec, spec_of
from .graph.files import run_pytorch
from .request import NetworkRequest
from .results.folder import MANIFEST
from .results.tables import ResultList
from .sources.samples import ARRAYS, read_samples
from .targets.base import Evidence, RunResult
from .tasks import ModelInput, get_task, reading_outputs
from .tasks.raw import RAW
from .toolchains.kept import keep_workers
from .verify import Reopened, reopen, require_unchanged, run_export

_KMODEL = ".kmodel"
_MOST_TOGETHER, _MOST_PIXELS = 16, 2**26  # images at a time
_PLACES = {
    Evidence.EXECUTED: "the runtime",
    Evidence.SIMULATED: "the vendor's simulator",
    Evidence.MODELLED: "edgeark's own simulator",
}


@dataclass(frozen=True)
class _AnswerRow:
    cells: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.cells


@dataclass(frozen=True)
class Answer:
    """Raw outputs, ``[1, ...]`` each, and what they say; see :meth:`Task.postprocess`.

    ``answered_by`` names the engine. ``image`` is what was asked about, uint8 ``[h, w]`` or
    ``[h, w, 3]`` (rgb); None for tensors.
    """

    outputs: Sequence[np.ndarray]
    meaning: dict[str, Any] = field(default_factory=dict)
    spec: ModelSpec | None = field(default=None, repr=False)
    answered_by: str = ""
    image: np.ndarray | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.rows())

    def _repr_html_(self) -> str:
        return self.rows()._repr_html_()

    def rows(self) -> ResultList[_AnswerRow]:
        """What was recognised; else what the raw outputs are."""
        if self.meaning and self.spec is not None:
            rows = get_task(self.spec.task).rows(self.meaning)
            columns = get_task(self.spec.task).columns
        else:
            rows = self.output_ranges()
            columns = ("output", "shape", "type", "least", "greatest")
            rows = [{**row, "shape": format_shape(row["shape"])} for row in rows]
        return ResultList(map(_AnswerRow, rows), {name: name for name in columns})

    def describe(self) -> str:
        """One line."""
        if self.meaning and self.spec is not None:
            return get_task(self.spec.task).describe(self.meaning)
        return "; ".join(
            f"output {row['output']} {format_shape(row['shape'])} "
            f"{row['least']:.4g} to {row['greatest']:.4g}"
            for row in self.output_ranges()
        )

    def output_ranges(self) -> list[dict[str, Any]]:
        """Of each raw output its shape, its type, its least and its greatest value."""
        return [
            {
                "output": index,
                "shape": list(output.shape),
                "type": str(output.dtype),
                "least": float(output.min()),
                "greatest": float(output.max()),
            }
            for index, output in enumerate(self.outputs)
        ]

    def draw(self) -> np.ndarray:
        """The answer drawn into its image: uint8 ``[h, w, 3]`` (rgb).

        Raises:
            EdgearkError: it has no image, or nothing is known of what the outputs mean.
        """
        if self.image is None or self.spec is None or not self.meaning:
            raise EdgearkError(
                "nothing to draw: it is not known what the outputs mean (--spec says it)"
            )
        return get_task(self.spec.task).draw(self.spec, self.image, self.meaning)


class Runner:
    """A network that is ready to answer.

    Args:
        spec: how it is fed and read.
        network: raw images ``[N, C, H, W]`` (or records) in, ``[N, ...]`` an output out.
        answered_by: the engine.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: Callable[[np.ndarray], Sequence[np.ndarray]],
        answered_by: str,
    ) -> None:
        self.spec = spec
        self.answered_by = answered_by
        self._network = network

    def answers(
        self, images: Iterable[np.ndarray | Path], *, live: bool = False
    ) -> Iterator[Answer]:
        """An answer for each image, in their order; a few of them are in memory at a time.

        Args:
            images: uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), or files of arrays.
            live: each is answered before the next is asked for, as a camera needs it.

        Raises:
            DataError: an array does not fit.
            EdgearkError: the engine failed, or its answer is not finite.
        """
        waiting: list[_Prepared] = []
        for image in images:
            waiting.append(self._prepare(image))
            pixels = sum(each.pixels for each in waiting)
            if live or len(waiting) == _MOST_TOGETHER or pixels > _MOST_PIXELS:
                yield from self._answer(waiting)
                waiting = []
        if waiting:
            yield from self._answer(waiting)

    def _prepare(self, image: np.ndarray | Path) -> _Prepared:
        if isinstance(image, Path):
            return _Prepared(read_samples([image], self.spec, 1))
        if self.spec.inputs:
            raise DataError(f"{self.spec.description} takes tensors: name an .npy or .npz")
        model_input = get_task(self.spec.task).preprocess(self.spec, image)
        return _Prepared(model_input.x, model_input, image)

    def _answer(self, waiting: Sequence[_Prepared]) -> Iterator[Answer]:
        outputs = self._network(np.concatenate([each.x for each in waiting]))
        for index, each in enumerate(waiting):
            own = _finite([output[index : index + 1] for output in outputs], self.spec)
            meaning = {}
            if each.model_input is not None:
                with reading_outputs(self.spec):
                    meaning = get_task(self.spec.task).postprocess(self.spec, own, each.model_input)
            yield Answer(own, meaning, self.spec, self.answered_by, each.image)


@dataclass(frozen=True)
class _Prepared:
    x: np.ndarray
    model_input: ModelInput | None = None
    image: np.ndarray | None = None

    @property
    def pixels(self) -> int:
        return self.x.size + (0 if self.image is None else self.image.size)


def answer_image(request: str | NetworkRequest, image: Path) -> Answer:
    """What a network says of an image, which is brought to the network's size.

    Args:
        request: see :func:`open_network`.
        image: an image file; an array, .npy or .npz, for a network that takes tensors.

    Raises:
        EdgearkError: there is no such thing, nothing here runs it, or it is broken.
        DataError: the image cannot be read.
    """
    with open_network(request) as network:
        return next(network.answers([read_image_or_array(image)]))


@contextmanager
def open_network(request: str | NetworkRequest) -> Iterator[Runner]:
    """A network, ready to answer until the block ends.

    Args:
        request: a network, which PyTorch runs (ONNX Runtime an ONNX file); the folder of an export
            or a file in it, which its target runs; or a kmodel v3 without a manifest, of which
            nothing but the raw outputs is known.

    Raises:
        EdgearkError: there is no such thing, nothing here runs it, or it is broken.
    """
    given = NetworkRequest(request) if isinstance(request, str) else request
    path = Path(str(given.network))
    is_kmodel = path.suffix.lower() == _KMODEL
    is_exported = is_export(path)
    if (is_exported or is_kmodel) and given != NetworkRequest(given.network):
        raise EdgearkError(f"{path} has its own weights and shapes: leave the options out")
    if is_exported:
        with keep_workers():
            yield _open_export(reopen(path))
        return
    if is_kmodel and not path.exists():
        raise EdgearkError(f"there is no {path}")
    if is_kmodel:
        yield _open_kmodel(path)
        return
    if path.is_file() and path.suffix.lower() not in NETWORK_FILES:
        raise EdgearkError(
            f"cannot run {path.name}: no {MANIFEST} is beside it, and it is no network or {_KMODEL}"
        )
    pytorch = f"PyTorch {version('torch')}"
    if given.is_measured:
        model = create_model(
            str(given.network), pretrained=given.weights is None, weights=given.weights
        )
        spec: ModelSpec = spec_of(model)
        with evaluating(model):
            yield Runner(spec, lambda x: run_pytorch(model, spec, x, batch=1), pytorch)
        return
    source = given.source
    answered_by = {
        "pytorch": pytorch,
        "torchscript": f"TorchScript, {pytorch}",
        "onnxruntime": f"ONNX Runtime {version('onnxruntime')}",
    }[source.reference]
    with scratch_folder("run") as scratch:
        graph = source.make_graph(Path(scratch))
        yield Runner(source.spec, lambda x: graph.reference(x, batch=1), answered_by)


def is_export(path: Path) -> bool:
    """Whether it is an export's folder, or a file in one."""
    return path.is_dir() or (path.is_file() and (path.parent / MANIFEST).exists())


def _open_export(export: Reopened) -> Runner:
    require_unchanged(export)
    target, precision = export.target, export.manifest.precision
    ran = target.evidence_of(export.artifact, RunResult([], 0.0))  # nothing else answers
    place = _PLACES.get(ran, "")
    versions = ", ".join(f"{name} {number}" for name, number in target.versions().items())
    words = ", ".join(filter(None, [f"{target.full_name} {precision}", place]))
    spec = export.manifest.spec
    return Runner(spec, lambda x: run_export(export, x).outputs, f"{words} ({versions})")


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


def read_image_or_array(path: Path) -> np.ndarray | Path:
    """:func:`read_image`; a file of arrays stays one, since its network says how it is read."""
    return path if path.suffix.lower() in ARRAYS else read_image(path)


def _open_kmodel(path: Path) -> Runner:
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
    except KmodelError as error:
        raise KmodelError(f"{path.name}: {error}") from None
    channels, height, width = shape
    spec = ModelSpec(
        task=RAW,
        input_size=(height, width),
        color="gray" if channels == 1 else "rgb",
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        classes=(),
        dataset="",
        description=path.name,
        reference="",
    )

    def answer(x: np.ndarray) -> list[np.ndarray]:
        try:
            return simulator.run(x)
        except KmodelError as error:
            raise KmodelError(f"{path.name}: {error}") from None

    return Runner(spec, answer, f"k210, {_PLACES[Evidence.MODELLED]}")
