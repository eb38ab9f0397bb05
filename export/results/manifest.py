"""The manifest of an export, read back by whoever has its folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from ...errors import EdgearkError
from ...zoo.spec import Color, Head, ModelSpec, Task
from ..targets.base import Precision
from .folder import MANIFEST


class ManifestError(EdgearkError):
    """A folder without a manifest, or one that is not as :func:`write_manifest` writes it."""


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise ValueError("a file lies in the export's folder")
    return name


FileName = Annotated[str, AfterValidator(_inside)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class InputSection(_Section):
    shape: tuple[Literal[1], PositiveInt, PositiveInt, PositiveInt]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Color
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class OutputSection(_Section):
    shape: tuple[int, ...]


class FileSection(_Section):
    name: FileName
    sha256: str


class GoldenSection(_Section):
    file: FileName


class Manifest(_Section):
    """What is needed to run an export again, and to read what it answers."""

    model: str
    task: Task
    target: str
    precision: Precision
    files: tuple[FileSection, ...]
    sources: tuple[FileName, ...] = ()
    input: InputSection
    outputs: tuple[OutputSection, ...]
    classes: tuple[str, ...] = Field(min_length=1)
    settings: dict[str, Any] = {}
    golden: GoldenSection
    evidence: str | None = None
    license: str
    strides: tuple[PositiveInt, ...] = ()
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    head: Head = ""

    @property
    def spec(self) -> ModelSpec:
        """How the network is fed and read; nothing of where it comes from."""
        sides = self.input.shape[1:3] if self.input.layout == "NHWC" else self.input.shape[2:]
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
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export's folder.

    Raises:
        ManifestError: there is none, or it is not one.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(
            f"no {MANIFEST} in {folder}: name a folder that `edgeark export` wrote"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from None
