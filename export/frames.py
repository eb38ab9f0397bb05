"""Where the images of ``edgeark run`` come from, and where drawn ones go.

A source is an image, an array, a folder, a video or a camera; frames are read when they are asked
for. What is written appears as a whole at the end, or not at all.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..core.scratch import collect, held_folder
from ..errors import DataError, EdgearkError
from ..training.data.pixels import SUFFIXES
from ..zoo.tasks.segmentation import class_colors
from .run import Answer, read_image_or_array
from .sources.samples import ARRAYS

Kind = Literal["image", "folder", "video", "camera"]

VIDEOS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "XVID", ".avi": "MJPG"}
_READ_VIDEOS = {*VIDEOS, ".webm", ".mpg", ".mpeg", ".ts"}
_CAMERA = "camera:"
_DRAWN = {*SUFFIXES} - {".gif", ".ppm", ".pgm"}  # written as they were read; others as .png
_FRAMES_A_SECOND = 25.0  # of a source that does not say
_ESCAPE = 27


@dataclass(frozen=True)
class Frame:
    """An image, or a file of arrays, and its name: relative to the source where that is a folder.

    ``file`` is where what is drawn of it goes, in a folder.
    """

    name: str
    image: np.ndarray | Path
    file: Path


class Source:
    """Frames by what a user named.

    Args:
        name: an image or an array, a folder, a video, or ``camera:0``.
        limit: at most so many frames; None: all.

    Raises:
        DataError: there is no such thing, or nothing to read in it.
    """

    def __init__(self, name: str, limit: int | None = None) -> None:
        self.name, self._limit = name, limit
        self.frames_a_second = _FRAMES_A_SECOND
        path = Path(name)
        self.kind: Kind = "image"
        self._names: list[Path] = []  # of a folder
        if name.startswith(_CAMERA):
            if not name.removeprefix(_CAMERA).isdigit():
                raise DataError(f"{name}: a camera is named by its number, camera:0")
            self.kind = "camera"
        elif path.is_dir():
            self.kind, self._names = "folder", _list_images(path)
        elif path.suffix.lower() in _READ_VIDEOS:
            if not path.exists():
                raise DataError(f"there is no {path}")
            self.kind = "video"
        if self.is_moving:
            load_opencv()

    @property
    def is_moving(self) -> bool:
        return self.kind in ("video", "camera")

    def frames(self) -> Iterator[Frame]:
        """One after the other.

        Raises:
            DataError: one of them cannot be read.
        """
        if self.is_moving:
            return islice(self._moving(), self._limit)
        if self.kind == "folder":
            return self._of_folder(Path(self.name))
        path = Path(self.name)
        return iter([Frame(self.name, read_image_or_array(path), _drawn_name(Path(path.name)))])

    def _of_folder(self, folder: Path) -> Iterator[Frame]:
        stems = Counter(name.with_suffix("") for name in self._names)
        for name in self._names[: self._limit]:
            is_alone = stems[name.with_suffix("")] == 1  # not a.jpg beside a.png
            file = _drawn_name(name) if is_alone else name.with_name(f"{name.name}.png")
            yield Frame(name.as_posix(), read_image_or_array(folder / name), file)

    def _moving(self) -> Iterator[Frame]:
        opencv = load_opencv()
        number = self.name.removeprefix(_CAMERA)
        capture = opencv.VideoCapture(int(number) if self.kind == "camera" else self.name)
        stem = self.name.replace(":", "-") if self.kind == "camera" else Path(self.name).stem
        try:
            if not capture.isOpened():
                raise DataError(f"cannot open {self.name}")
            said = capture.get(opencv.CAP_PROP_FPS)
            self.frames_a_second = said if 0 < said < 1000 else _FRAMES_A_SECOND
            count = 0
            while True:
                there, pixels = capture.read()
                if not there:
                    break
                file = Path(f"{stem}-{count:06d}.png")
                yield Frame(f"{self.name}#{count}", np.ascontiguousarray(pixels[..., ::-1]), file)
                count += 1
            if not count:
                raise DataError(f"there is no frame in {self.name}")
        finally:
            capture.release()


def _list_images(folder: Path) -> list[Path]:
    """The images and arrays in a folder and below it, relative to it, by name."""
    files = (
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in {*SUFFIXES, *ARRAYS} and path.is_file()
    )
    names = sorted(f for f in files if not any(part.startswith(".") for part in f.parts))
    if not names:
        raise DataError(f"there is no image in the folder {folder}")
    return names


def _drawn_name(name: Path) -> Path:
    return name if name.suffix.lower() in _DRAWN else name.with_suffix(".png")


def load_opencv() -> Any:
    """The module ``cv2``, which is no dependency.

    Raises:
        EdgearkError: it is not installed.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise EdgearkError(
            f"videos, cameras and windows need OpenCV ({error}): "
            "pip install 'edgeark[video]' (opencv-python in its place has windows)"
        ) from None
    return cv2


class Drawings:
    """Where drawn frames go: a file or a folder, a window, both.

    Args:
        source: whose frames they are.
        out: an image's file for an image, a video's for a video or a camera, else a folder.
        show: in a window.

    Raises:
        EdgearkError: ``out`` is of another kind than the source.
    """

    def __init__(self, source: Source, out: Path | None, show: bool = False) -> None:
        self.source, self.out, self.show = source, out, show
        self._staging: Path | None = None
        self._video: Any = None
        suffix = "" if out is None or out.is_dir() else out.suffix.lower()
        self.is_file = suffix in {*SUFFIXES, *_READ_VIDEOS}
        fits = VIDEOS if source.is_moving else {*_DRAWN, ".ppm"}
        if self.is_file and (source.kind == "folder" or suffix not in fits):
            kinds = "" if source.kind == "folder" else f" ({', '.join(sorted(fits))})"
            file = "" if source.kind == "folder" else f"a file of the same kind{kinds} or "
            raise EdgearkError(f"--out {out}: of {source.name} drawings go to {file}a folder")
        if out is not None and out.exists() and not (self.is_file or out.is_dir()):
            raise EdgearkError(f"--out {out} is a file there, and no image: name a folder")
        if show:
            _require_display()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Frames may be added; they are at ``out`` when the block has ended without an error."""
        if self.out is None:
            yield
            return
        parent = self.out.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.out.name}."
        collect(parent, prefix, ".new")
        with held_folder(parent / f"{prefix}{secrets.token_hex(6)}.new") as staging:
            self._staging = staging
            try:
                yield
            finally:
                if self._video is not None:
                    self._video.release()
            self._place(staging, parent if self.is_file else self.out)

    def add(self, frame: Frame, answer: Answer) -> bool:
        """Draw an answer; False: the user has closed the window."""
        if self.out is None and not self.show:
            return True
        drawn = answer.draw()
        if self.out is not None:
            self._write(frame, drawn, answer)
        return not self.show or self._show(drawn)

    def mask_file(self, frame: Frame, key: str) -> Path | None:
        """Where a mask of an answer goes; None: nowhere."""
        if self.out is None or (self.is_file and self.source.is_moving):
            return None
        if self.is_file:
            return self.out.with_name(f"{self.out.stem}.{key}.png")
        return self.out / frame.file.with_name(f"{frame.file.stem}.{key}.png")

    def _write(self, frame: Frame, drawn: np.ndarray, answer: Answer) -> None:
        assert self._staging is not None and self.out is not None
        if self.is_file and self.source.is_moving:
            self._write_frame(self._staging / self.out.name, drawn)
            return
        file = self._staging / (self.out.name if self.is_file else frame.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            Image.fromarray(drawn).save(file, quality=95)  # which PNG has no use for
        except (OSError, ValueError) as error:
            raise EdgearkError(f"cannot write {frame.file}: {error}") from None
        for key, mask in masks_of(answer).items():
            write_mask(mask, file.with_name(f"{file.stem}.{key}.png"))

    def _write_frame(self, file: Path, drawn: np.ndarray) -> None:
        opencv = load_opencv()
        if self._video is None:
            code = opencv.VideoWriter_fourcc(*VIDEOS[file.suffix.lower()])
            size = (drawn.shape[1], drawn.shape[0])
            self._video = opencv.VideoWriter(str(file), code, self.source.frames_a_second, size)
            if not self._video.isOpened():
                raise EdgearkError(f"this OpenCV cannot write {self.out}: name a folder")
        self._video.write(np.ascontiguousarray(drawn[..., ::-1]))

    def _show(self, drawn: np.ndarray) -> bool:
        opencv = load_opencv()
        try:
            opencv.imshow("edgeark", np.ascontiguousarray(drawn[..., ::-1]))
            key = opencv.waitKey(1 if self.source.is_moving else 0) & 255
        except opencv.error as error:
            raise EdgearkError(
                f"this OpenCV shows no windows ({str(error).split(chr(10))[0]}): "
                "pip install opencv-python, without -headless"
            ) from None
        return key not in (ord("q"), _ESCAPE)

    @staticmethod
    def _place(staging: Path, out: Path) -> None:
        for file in sorted(path for path in staging.rglob("*") if path.is_file()):
            place = out / file.relative_to(staging)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def masks_of(answer: Answer) -> dict[str, np.ndarray]:
    """What an answer says of every pixel, by name."""
    return {k: v for k, v in answer.meaning.items() if isinstance(v, np.ndarray)}


def write_mask(mask: np.ndarray, path: Path) -> None:
    """A PNG whose values are indices of classes; a palette makes them visible."""
    image = Image.fromarray(mask)
    colors = class_colors(int(mask.max()) + 1)
    image.putpalette([part for i in range(256) for part in colors.get(i, (0, 0, 0))])
    image.save(path, "PNG")


def _require_display() -> None:
    load_opencv()
    needs_one = sys.platform.startswith("linux")
    if needs_one and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise EdgearkError("--show: there is no display ($DISPLAY is not set); use --out")
