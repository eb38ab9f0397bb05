"""The manifest of an export: one model, by which it is written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import from_json

from ...errors import EdgearkError
from ...limited import read_file
from ...training.data import Frame
from ...zoo.spec import Color, Head, ModelSpec, TensorInput
from ...zoo.tasks.letterbox import GREY
from ..targets.base import Artifact, Target, list_files
from ..tasks import TaskName, get_task
from .folder import GOLDEN, GOLDEN_COUNT, MANIFEST
from .schema import ExportResult, ProvenResult, Record, SourceResult

SCHEMA_VERSION = 1  # rises when a field gets another meaning or is taken away


class ManifestError(EdgearkError):
    """A folder without a manifest, or one that is not as :func:`write_manifest` writes it."""


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    is_outside = path.is_absolute() or ".." in path.parts or not path.parts
    if is_outside or "\\" in name or ":" in name or not name.isprintable():
        raise ValueError("a file lies in the export's folder")
    return name


def _one_name(name: str) -> str:
    """A part of a path: results and logs are named after it."""
    if not name.isprintable() or set(name) & set('/\\:*?"<>|') or name.startswith((".", "-")):
        raise ValueError("a name has no separators, and does not begin with a dot")
    return name


def _one_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[:1] != (1,):
        raise ValueError("a chip takes one sample at a time: the batch is 1")
    return shape


InputShape = Annotated[tuple[PositiveInt, ...], AfterValidator(_one_sample)]
FileName = Annotated[str, Field(max_length=400), AfterValidator(_inside)]
Name = Annotated[str, Field(min_length=1, max_length=150), AfterValidator(_one_name)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(Record):
    model_config = ConfigDict(extra="ignore")  # a later edgeark may write more


class LetterboxSection(_Section):
    """An image keeps its aspect: ``grey`` fills the rest, on both sides where ``centred``."""

    grey: int
    centred: bool


class InputSection(_Section):
    """What the file takes; ``normalization`` says who applies ``mean`` and ``std``."""

    shape: InputShape
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Color
    range: tuple[int, int] = (0, 255)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normalization: str = ""
    letterbox: LetterboxSection | None = None


class TensorSection(_Section):
    """An input that is no image: float32, not normalised."""

    name: str
    shape: InputShape


class OutputSection(_Section):
    name: str = ""
    shape: tuple[int, ...]


class FileSection(_Section):
    name: FileName
    bytes: int | None = None
    sha256: Digest


class GoldenSection(_Section):
    """Real inputs with the answers of PyTorch and of this artifact, as NumPy arrays."""

    file: FileName
    sha256: Digest | None = None
    count: PositiveInt = GOLDEN_COUNT
    layout: Literal["NCHW"] = "NCHW"


class Manifest(ProvenResult):
    """All that is needed to feed an artifact, to read its answer, and to run it again.

    ``files`` go to the chip, ``sources`` only to the converter; ``settings`` are the target's own.
    ``strides`` and ``anchors`` decode a detector's maps: input pixels per cell, and widths and
    heights in input pixels.
    """

    model_config = ConfigDict(extra="ignore")  # a later edgeark may write more

    model: Name
    schema_version: Literal[1]
    edgeark: str
    task: TaskName
    toolchain: dict[str, str] = Field(default_factory=dict)
    files: tuple[FileSection, ...]
    sources: tuple[FileName, ...] = ()
    input: InputSection
    outputs: tuple[OutputSection, ...]
    tensors: tuple[TensorSection, ...] = ()
    rewrites: tuple[dict[str, Any], ...] = ()
    classes: tuple[str, ...] = ()
    strides: tuple[PositiveInt, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    head: Head = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    golden: GoldenSection
    license: str
    message: str = ""
    source_results: tuple[SourceResult, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """How the network is fed and read; nothing of where it comes from."""
        is_last = self.input.layout == "NHWC"
        sides = self.input.shape[1:3] if is_last else self.input.shape[2:4]
        if self.tensors:
            sides = (1, 1)
        return ModelSpec(
            task=self.task,
            input_size=(sides[0], sides[1]),
            color=self.input.color,
            mean=self.input.mean,
            std=self.input.std,
            classes=self.classes,
            dataset="",
            description=self.model,
            reference="",
            license=self.license,
            strides=self.strides,
            anchors=self.anchors,
            head=self.head,
            inputs=tuple(TensorInput(each.name, each.shape) for each in self.tensors),
        )


def write_manifest(
    folder: Path,
    spec: ModelSpec,
    target: Target,
    artifact: Artifact,
    outputs: Sequence[np.ndarray],
    row: ExportResult,
    rewrites: Sequence[Mapping[str, Any]] = (),
    names: Sequence[str] = (),
) -> None:
    """Write the manifest of an export into its folder.

    Args:
        folder: it has the artifact's files, and the golden vectors.
        spec: the network's.
        target: what converted it.
        artifact: what was converted.
        outputs: raw outputs ``[N, ...]`` in PyTorch's layout, for their shapes.
        row: what was found.
        rewrites: what was changed in the network first.
        names: of the outputs.
    """
    from ... import __version__

    layout = artifact.settings.get("layout", "NCHW")
    manifest = Manifest(
        **{name: getattr(row, name) for name in ProvenResult.model_fields},
        schema_version=SCHEMA_VERSION,
        edgeark=__version__,
        task=spec.task,
        toolchain=target.versions(),
        files=tuple(
            _describe(path, folder) for name in artifact.files for path in list_files(folder / name)
        ),
        sources=artifact.sources,
        input=InputSection.model_validate(
            {
                "shape": _shape(spec.input_shapes[0], layout),
                "layout": layout,
                "color": spec.color,
                "mean": spec.mean,
                "std": spec.std,
                "normalization": target.normalization,
                "letterbox": _letterbox(spec),
            }
        ),
        outputs=tuple(
            OutputSection(name=name, shape=_shape((1, *o.shape[1:]), layout))
            for o, name in zip(outputs, [*names, *[""] * len(outputs)], strict=False)
        ),
        tensors=tuple(TensorSection(name=i.name, shape=i.shape) for i in spec.inputs),
        rewrites=tuple(map(dict, rewrites)),
        classes=spec.classes,
        strides=spec.strides,
        anchors=spec.anchors,
        head=spec.head,
        settings=dict(artifact.settings),
        golden=GoldenSection(
            file=GOLDEN,
            sha256=sha256_of(folder / GOLDEN) if (folder / GOLDEN).exists() else None,
            count=min(GOLDEN_COUNT, len(outputs[0])),
        ),
        license=spec.license,
        message=row.message,
        source_results=row.source_results,
    )
    text = json.dumps(manifest.to_dict(), indent=2, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export's folder.

    Raises:
        ManifestError: there is none, or it is not one.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate(from_json(read_file(path), allow_inf_nan=False))
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(
            f"no {MANIFEST} in {folder}: name a folder that `edgeark export` wrote"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from None
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON: {error}") from None
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from None


def manifest_schema() -> str:
    """The JSON Schema of a manifest, as docs/manifest.schema.json has it."""
    schema = Manifest.model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _shape(nchw: Sequence[int], layout: str) -> tuple[int, ...]:
    """As the file has it: maps turn, what is no map stays."""
    if layout == "NHWC" and len(nchw) == 4:
        batch, channels, height, width = nchw
        return (batch, height, width, channels)
    return tuple(nchw)


def _letterbox(spec: ModelSpec) -> LetterboxSection | None:
    if not get_task(spec.task).letterboxed:
        return None
    return LetterboxSection(grey=GREY, centred=Frame.of(spec).centred)


def _describe(path: Path, folder: Path) -> FileSection:
    name = path.relative_to(folder).as_posix()
    return FileSection(name=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
