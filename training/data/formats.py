"""The register of data-set formats: one class a format, and ``load_images`` over all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from ...core.messages import suggest
from ...errors import DataError
from ...zoo.spec import Color, ModelSpec
from .catalog import Catalog, Kind
from .files import Files
from .images import ImageSet, Shape, Split
from .reading import read_catalog


@dataclass(frozen=True)
class Frame:
    """How a detector wants an image in its input: colour order, and where the padding goes."""

    color: Color = "rgb"
    centred: bool = True

    @classmethod
    def of(cls, spec: ModelSpec) -> Frame:
        return cls(spec.color, centred=spec.is_centred)


@dataclass(frozen=True)
class Request:
    """What of a data set is wanted, and how; see :func:`load_images`."""

    data: Path | None = None
    shape: Shape | None = None
    sample: int | None = None
    frame: Frame = Frame()
    ignore: int | None = None


class DatasetFormat(ABC):
    """One layout of files, or one public data set. Subclasses register themselves.

    ``is_own`` is true for a layout of the user's own images, which ``--data`` must name. Where a
    folder's layout is guessed, formats of a lower ``guess_rank`` come first: the more telling ones.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    is_own: ClassVar[bool] = True
    guess_rank: ClassVar[int] = 0

    @abstractmethod
    def load(self, split: Split, request: Request) -> ImageSet:
        """The images of a split, decoded."""

    def open(self, request: Request) -> Catalog:
        """The data set, listed.

        Raises:
            DataError: it is no data set of files, or not laid out so.
        """
        raise DataError(f"{self.name} has no files of its own to look at")

    def fits(self, files: Files, task: Kind | None) -> bool:
        """Whether a folder of the user's looks like this layout; cheap."""
        return False


class FileFormat(DatasetFormat):
    """A format whose images are files: it lists them, and the rest is common to all."""

    def load(self, split: Split, request: Request) -> ImageSet:
        return read_catalog(
            self.open(request),
            split,
            request.shape,
            request.sample,
            color=request.frame.color,
            centred=request.frame.centred,
        )


class FolderFormat(FileFormat):
    """A layout of the user's own files, in a folder or a zip."""

    def open(self, request: Request) -> Catalog:
        if request.data is None or not request.data.exists():
            where = "" if request.data is None else f" ({request.data} does not exist)"
            raise DataError(f"name the folder of your images with --data{where}: {self.summary}")
        files = Files.open(request.data)
        if not files.images:
            raise DataError(f"no images in {request.data}: {self.summary}")
        return self.list(files, request)

    @abstractmethod
    def list(self, files: Files, request: Request) -> Catalog:
        """Find the images and their annotations."""


Format = TypeVar("Format", bound=DatasetFormat)
_FORMATS: dict[str, DatasetFormat] = {}


def register_format(cls: type[Format]) -> type[Format]:
    """Register the decorated class under its ``name``.

    Raises:
        ValueError: the name is taken.
    """
    if cls.name in _FORMATS:
        raise ValueError(f"data-set format {cls.name!r} is registered twice")
    _FORMATS[cls.name] = cls()
    return cls


def list_formats() -> list[str]:
    """Names of all formats, public data sets first."""
    return sorted(_FORMATS, key=lambda name: (_FORMATS[name].is_own, name))


def find_format(name: str) -> DatasetFormat:
    """The format called ``name``.

    Raises:
        DataError: there is none.
    """
    try:
        return _FORMATS[name]
    except KeyError:
        hint = suggest(name, list_formats(), f"there are {', '.join(list_formats())}")
        raise DataError(f"unknown data set {name!r}; {hint}") from None


def detect_format(data: Path, task: Kind | None = None) -> DatasetFormat:
    """The format that a folder is laid out in; ``task`` narrows the choice.

    Raises:
        DataError: none fits.
    """
    if not data.exists():
        raise DataError(f"there is no folder {data}")
    files = Files.open(data)
    if not files.images:
        raise DataError(f"no images in {data}")
    for kind in sorted(_FORMATS.values(), key=lambda kind: kind.guess_rank):
        if kind.is_own and kind.fits(files, task):
            return kind
    raise DataError(
        f"{data} is laid out in no known way: name the format with --dataset ("
        + ", ".join(name for name in list_formats() if _FORMATS[name].is_own)
        + ")"
    )


def load_images(
    name: str,
    split: Split,
    data: Path | None = None,
    *,
    shape: Shape | None = None,
    sample: int | None = None,
    frame: Frame | None = None,
    ignore: int | None = None,
) -> ImageSet:
    """Load data set ``name``.

    Args:
        name: one of :func:`list_formats`: a public data set, or the layout of a folder of one's
            own.
        split: ``train``, ``test``, or ``val`` where the data set has such a part.
        data: the folder to look in; by default see :mod:`edgeark.training.data.sources`.
        shape: the network's ``(channels, height, width)``: the images are brought to it.
        sample: only so many images, drawn at random, the same ones every time.
        frame: how images with boxes are put into the network's input; by default as YOLOv5.
        ignore: the value of mask pixels that belong to no class and count nowhere.

    Raises:
        DataError: unknown name, not found, or broken files.
    """
    request = Request(data, shape, sample, frame or Frame(), ignore)
    return find_format(name).load(split, request)
