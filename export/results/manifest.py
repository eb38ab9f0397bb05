"""The manifest of an export: one model, by which it is written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from ...core.files import read_file
from ...core.messages import describe_invalid
from ...errors import EdgearkError
from ...zoo.spec import Head, ModelSpec, TensorInput
from ..targets.base import Artifact, Target, list_files
from ..tasks import TaskName
from .folder import GOLDEN, GOLDEN_COUNT, MANIFEST
from .interface import (
    HeadFacts,
    InputFacts,
    InputShape,
    OutputFacts,
    head_facts,
    input_facts,
    output_facts,
)
from .schema import ExportResult, ProvenResult, Record, SourceResult

SCHEMA_VERSION = 2  # rises when a field gets another meaning or is taken away


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


FileName = Annotated[str, Field(max_length=400), AfterValidator(_inside)]
Name = Annotated[str, Field(min_length=1, max_length=150), AfterValidator(_one_name)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(Record):
    model_config = ConfigDict(extra="ignore")  # a later edgeark may write more


class TensorSection(_Section):
    """An input that is no image; it is not normalised."""

    name: str
    shape: InputShape
    type: Literal["float32"] = "float32"


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
    ``input``, ``outputs`` and ``head`` are all that a program on the chip has to know; ``head`` has
    ``classes``, ``strides`` and ``anchors`` too.
    """

    model_config = ConfigDict(extra="ignore")  # a later edgeark may write more

    model: Name
    schema_version: Literal[1, 2]
    edgeark: str
    task: TaskName
    toolchain: dict[str, str] = Field(default_factory=dict)
    files: tuple[FileSection, ...]
    sources: tuple[FileName, ...] = ()
    input: InputFacts
    outputs: tuple[OutputFacts, ...]
    tensors: tuple[TensorSection, ...] = ()
    rewrites: tuple[dict[str, Any], ...] = ()
    classes: tuple[str, ...] = ()
    strides: tuple[PositiveInt, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    head: HeadFacts
    settings: dict[str, Any] = Field(default_factory=dict)
    golden: GoldenSection
    license: str
    message: str = ""
    source_results: tuple[SourceResult, ...] = ()
    training_verdicts: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Fill in what version 1 lacks; and what stands twice is read in one place."""
        if not isinstance(given, dict) or not isinstance(given.get("head", ""), (str, dict)):
            return given
        old, head = given.get("input"), given.get("head", "")
        known = {name: given[name] for name in ("classes", "strides", "anchors") if name in given}
        given = {
            **given,
            "head": {**(_head_of_version_1(head) if isinstance(head, str) else head), **known},
        }
        if isinstance(old, dict) and "resize" not in old and isinstance(old.get("letterbox"), dict):
            box = old["letterbox"]
            fields = {"pad_value": box.get("grey"), "centred": box.get("centred")}
            given["input"] = {**old, "resize": {"rule": "letterbox", **fields}}
        return given

    @property
    def spec(self) -> ModelSpec:
        """How the network is fed and read; nothing of where it comes from."""
        head, decoder = self.head, self.head.decoder
        return ModelSpec(
            task=self.task,
            input_size=(1, 1) if self.tensors else (self.input.height, self.input.width),
            color=self.input.color,
            resize=self.input.resize.rule,
            mean=self.input.mean,
            std=self.input.std,
            classes=head.classes,
            dataset="",
            description=self.model,
            reference="",
            license=self.license,
            strides=head.strides,
            anchors=head.anchors,
            head=cast(Head, decoder) if decoder in get_args(Head) else "",
            score_threshold=head.score_threshold,
            iou_threshold=head.iou_threshold,
            max_boxes=head.max_boxes,
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
    training_verdicts: Sequence[str] = (),
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
        training_verdicts: what the training said of its own test.
    """
    from ... import __version__

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
        input=input_facts(spec, target, artifact),
        outputs=output_facts(artifact, [(1, *o.shape[1:]) for o in outputs], names),
        tensors=tuple(TensorSection(name=i.name, shape=i.shape) for i in spec.inputs),
        rewrites=tuple(map(dict, rewrites)),
        classes=spec.classes,
        strides=spec.strides,
        anchors=spec.anchors,
        head=head_facts(spec),
        settings=dict(artifact.settings),
        golden=GoldenSection(
            file=GOLDEN,
            sha256=sha256_of(folder / GOLDEN) if (folder / GOLDEN).exists() else None,
            count=min(GOLDEN_COUNT, len(outputs[0])),
        ),
        license=spec.license,
        message=row.message,
        source_results=row.source_results,
        training_verdicts=tuple(training_verdicts),
    )
    _save(folder, manifest)


def copy_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest of an export into a folder that has its files, as they are there.

    Sources that the folder lacks are left out.
    """
    files = tuple(_describe(folder / file.name, folder) for file in manifest.files)
    sources = tuple(name for name in manifest.sources if (folder / name).is_file())
    _save(folder, manifest.replace(files=files, sources=sources))


def _save(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
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
        raise ManifestError(f"{path}: {describe_invalid(error)}") from None
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON: {error}") from None
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from None


def manifest_schema() -> str:
    """The JSON Schema of a manifest, as docs/manifest.schema.json has it."""
    schema = Manifest.model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _head_of_version_1(decoder: str) -> dict[str, Any]:
    """Detectors alone had one, and one threshold for all."""
    threshold = {"score_threshold": ModelSpec.score_threshold} if decoder else {}
    return {"decoder": decoder, **threshold}


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
