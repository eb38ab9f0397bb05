"""The C library of board programs, built by the machine's compilers and called through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_size_t, c_uint8, c_uint32
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from edgeark.zoo.tasks.boxes import Boxes

SOURCES = Path(__file__).resolve().parents[2] / "export" / "bundle" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
OK, NULL, ARGUMENT, SHAPE, MEMORY = 0, -1, -2, -3, -4
TYPES = {np.dtype(np.float32): 0, np.dtype(np.int8): 1, np.dtype(np.uint8): 2}
LAYOUTS = {"NCHW": 0, "NHWC": 1}
ORDERS = {"rgb": 0, "gray": 0, "bgr": 1}


def compiler(command: str, packages: str) -> str:
    """The path of a compiler or an emulator; skips, and says what to install, where it lacks."""
    path = shutil.which(command)
    if path is None:
        pytest.skip(f"needs {command}: apt-get install {packages}")
    return path


def c_sources() -> list[Path]:
    return sorted(SOURCES.glob("*.c"))


def run_command(*command: object) -> str:
    """What it prints; its errors where it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


class Image(Structure):
    _fields_ = [
        ("pixels", ctypes.c_void_p),
        ("bytes", c_size_t),
        ("row_bytes", c_size_t),
        ("width", c_int32),
        ("height", c_int32),
        ("channels", c_int32),
        ("order", ctypes.c_int),
    ]


class Frame(Structure):
    _fields_ = [
        (name, c_int32)
        for name in (
            *("image_width", "image_height", "input_width", "input_height"),
            *("x", "y", "width", "height"),
        )
    ]


class Input(Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("count", c_size_t),
        ("type", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("channels", c_int32),
        ("order", ctypes.c_int),
        ("fill", c_uint8),
        ("mean", c_float * 3),
        ("deviation", c_float * 3),
        ("scale", c_float),
        ("zero_point", c_int32),
    ]


class Tensor(Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("count", c_size_t),
        ("type", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("channels", c_int32),
        ("height", c_int32),
        ("width", c_int32),
        ("scale", c_float),
        ("zero_point", c_int32),
    ]


class Class(Structure):
    _fields_ = [("index", c_int32), ("score", c_float)]


class Box(Structure):
    _fields_ = [
        *((name, c_float) for name in ("x1", "y1", "x2", "y2", "score")),
        ("class_index", c_int32),
        ("order", c_uint32),
    ]


class Candidates(Structure):
    _fields_ = [
        ("boxes", POINTER(Box)),
        ("capacity", c_uint32),
        ("count", c_uint32),
        ("seen", c_uint32),
    ]


@dataclass(frozen=True)
class Map:
    """An output ``[C, h, w]`` as a runtime leaves it: perhaps quantised, perhaps channels last."""

    stored: np.ndarray
    layout: str = "NCHW"
    scale: float = 0.0
    zero_point: int = 0

    @classmethod
    def of(
        cls, values: np.ndarray, dtype: str = "float32", layout: str = "NCHW", scale: float = 0.07
    ) -> Map:
        """``values`` are float ``[C, h, w]``; integers have a zero point off the middle."""
        zero_point = {"float32": 0, "int8": -11, "uint8": 113}[dtype]
        stored = values
        if dtype != "float32":
            limits = np.iinfo(dtype)
            stored = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
        if layout == "NHWC":
            stored = stored.transpose(1, 2, 0)
        return cls(np.ascontiguousarray(stored, dtype), layout, scale, zero_point)

    @property
    def values(self) -> np.ndarray:
        """Float32 ``[1, C, h, w]``, dequantised."""
        values = self.stored
        if values.dtype != np.float32:
            values = (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return (values.transpose(2, 0, 1) if self.layout == "NHWC" else values)[None]

    @property
    def tensor(self) -> Tensor:
        _, channels, height, width = self.values.shape
        kind, layout = TYPES[self.stored.dtype], LAYOUTS[self.layout]
        shape = (channels, height, width)
        where = (self.stored.ctypes.data, self.stored.size)
        return Tensor(*where, kind, layout, *shape, self.scale, self.zero_point)


class Found:
    """Candidates with memory of their own."""

    def __init__(self, capacity: int) -> None:
        self.memory = (Box * capacity)()
        self.struct = Candidates(self.memory, capacity, 0, 0)

    def boxes(self, *, in_order: bool = False) -> Boxes:
        """As NumPy has them; ``in_order`` of their finding."""
        rows = self.memory[: self.struct.count]
        if in_order:
            rows = sorted(rows, key=lambda box: box.order)
        xyxy = np.array([[b.x1, b.y1, b.x2, b.y2] for b in rows], np.float32).reshape(-1, 4)
        scores = np.array([b.score for b in rows], np.float32)
        return Boxes(xyxy, scores, np.array([b.class_index for b in rows], np.intp))


class Library:
    """The functions with Python's types in place of C's; each asserts that C saw no error."""

    def __init__(self, path: Path) -> None:
        self.raw = ctypes.CDLL(str(path))
        self.raw.ep_status_text.restype = ctypes.c_char_p

    def frame(
        self, image_size: tuple[int, int], input_size: tuple[int, int], place: str = "centred"
    ) -> Frame:
        """Sizes are ``(height, width)``; ``place`` is centred, corner or stretched."""
        frame = Frame()
        sizes = (*image_size[::-1], *input_size[::-1])
        if place == "stretched":
            assert self.raw.ep_stretch(*sizes, byref(frame)) == OK
        else:
            kind = ["centred", "corner"].index(place)
            assert self.raw.ep_letterbox(*sizes, kind, byref(frame)) == OK
        return frame

    def fill_input(
        self,
        picture: np.ndarray,
        frame: Frame,
        color: str = "rgb",
        *,
        picture_order: str = "rgb",
        layout: str = "NCHW",
        dtype: str = "uint8",
        mean: Sequence[float] = (0, 0, 0),
        std: Sequence[float] = (1, 1, 1),
        scale: float = 0.0,
        zero_point: int = 0,
    ) -> np.ndarray:
        """A picture ``[h, w]`` or ``[h, w, 3]`` in the input, in the input's layout."""
        height, width, *rest = picture.shape
        channels = 1 if color == "gray" else 3
        planes, row = rest[0] if rest else 1, picture.strides[0]
        used = row * (height - 1) + width * planes
        order = ORDERS[picture_order]
        image = Image(picture.ctypes.data, used, row, width, height, planes, order)
        size = (frame.input_height, frame.input_width)
        out = np.full((channels, *size) if layout == "NCHW" else (*size, channels), 77, dtype)
        where = (out.ctypes.data, out.size, TYPES[out.dtype], LAYOUTS[layout])
        numbers = ((c_float * 3)(*mean), (c_float * 3)(*std), scale, zero_point)
        into = Input(*where, channels, ORDERS[color], 114, *numbers)
        assert self.raw.ep_fill_input(byref(image), byref(frame), byref(into)) == OK
        return out

    def read(self, output: Map) -> np.ndarray:
        out = np.empty(output.values.shape, np.float32)
        pointer = out.ctypes.data_as(POINTER(c_float))
        assert self.raw.ep_read(byref(output.tensor), pointer, c_size_t(out.size)) == OK
        return out

    def softmax(self, output: Map) -> np.ndarray:
        out = np.empty(output.stored.size, np.float32)
        pointer = out.ctypes.data_as(POINTER(c_float))
        assert self.raw.ep_softmax(byref(output.tensor), pointer, c_size_t(out.size)) == OK
        return out

    def top_k(self, output: Map, k: int) -> list[tuple[int, float]]:
        best, found = (Class * k)(), c_int32()
        assert self.raw.ep_top_k(byref(output.tensor), k, best, byref(found)) == OK
        return [(one.index, one.score) for one in best[: found.value]]

    def mask(self, output: Map, threshold: float = 0.5) -> np.ndarray:
        out = np.full(output.values.shape[2:], 77, np.uint8)
        where = (c_float(threshold), out.ctypes.data_as(POINTER(c_uint8)), c_size_t(out.size))
        assert self.raw.ep_mask(byref(output.tensor), *where) == OK
        return out

    def image_mask(
        self, source: np.ndarray | Map, frame: Frame, threshold: float = 0.5
    ) -> np.ndarray:
        """From a mask by the nearest pixel, or from logits bilinearly."""
        out = np.full((frame.image_height, frame.image_width), 77, np.uint8)
        where = (byref(frame), out.ctypes.data_as(POINTER(c_uint8)), c_size_t(out.size))
        if isinstance(source, Map):
            function, arguments = self.raw.ep_logits_to_image_mask, (byref(source.tensor),)
            arguments = (*arguments, c_float(threshold))
        else:
            function = self.raw.ep_mask_to_image
            data = source.ctypes.data_as(POINTER(c_uint8))
            arguments = (data, *source.shape[::-1])
        assert function(*arguments, *where) == OK
        return out

    def yolov5(
        self,
        outputs: Sequence[Map],
        strides: Sequence[int],
        anchors: Sequence[Sequence[tuple[float, float]]],
        threshold: float,
        capacity: int = 20_000,
    ) -> Found:
        found = Found(capacity)
        for output, stride, sizes in zip(outputs, strides, anchors, strict=True):
            flat = (c_float * (2 * len(sizes)))(*np.ravel(sizes))
            classes = output.values.shape[1] // len(sizes) - 5
            numbers = (len(sizes), classes, c_float(stride), c_float(threshold))
            tensor, into = byref(output.tensor), byref(found.struct)
            assert self.raw.ep_decode_yolov5(tensor, flat, *numbers, into) == OK
        return found

    def yolox(
        self,
        outputs: Sequence[Map],
        strides: Sequence[int],
        threshold: float,
        *,
        activated: bool = False,
    ) -> Found:
        """Three maps a stride, or one."""
        found = Found(20_000)
        each = len(outputs) // len(strides)
        for i, stride in enumerate(strides):
            parts = outputs[i * each : (i + 1) * each]
            classes = parts[-1].values.shape[1] - (0 if each == 3 else 5)
            maps = [byref(part.tensor) for part in parts] + [None] * (3 - each)
            numbers = (classes, int(activated), c_float(stride), c_float(threshold))
            assert self.raw.ep_decode_yolox(*maps, *numbers, byref(found.struct)) == OK
        return found

    def dfl(
        self,
        outputs: Sequence[Map],
        strides: Sequence[int],
        threshold: float,
        *,
        activated: bool = False,
    ) -> Found:
        """Two maps a stride."""
        found = Found(20_000)
        for box, classes, stride in zip(outputs[::2], outputs[1::2], strides, strict=True):
            count = classes.values.shape[1]
            numbers = (count, int(activated), c_float(stride), c_float(threshold))
            maps = byref(box.tensor), byref(classes.tensor)
            assert self.raw.ep_decode_dfl(*maps, *numbers, byref(found.struct)) == OK
        return found

    def nms(self, found: Found, iou: float, max_boxes: int = 300) -> Boxes:
        assert self.raw.ep_nms(byref(found.struct), c_float(iou), c_uint32(max_boxes)) == OK
        return found.boxes()

    def to_image(self, frame: Frame, found: Found) -> Boxes:
        assert self.raw.ep_boxes_to_image(byref(frame), byref(found.struct)) == OK
        return found.boxes()

    def add(self, found: Found, boxes: Boxes) -> None:
        for xyxy, score, index in zip(boxes.xyxy, boxes.scores, boxes.classes, strict=True):
            box = Box(*xyxy, score, index, 0)
            assert self.raw.ep_candidates_add(byref(found.struct), byref(box)) == OK


def build_library(folder: Path) -> Library:
    """Compiled with every warning an error; skips where there is no compiler."""
    gcc, path = compiler("gcc", "gcc libc6-dev"), folder / "libedge_post.so"
    run_command(gcc, *STRICT, "-O2", "-shared", "-fPIC", *c_sources(), "-o", path, "-lm")
    return Library(path)
