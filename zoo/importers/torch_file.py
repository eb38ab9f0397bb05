"""PyTorch's zip files (``.pt``, ``.pth``) read without torch.load: records in, tensors out.

Such a file is an uncompressed zip of one pickle and one record of raw values per storage. The
pickle goes through :mod:`.safe_pickle`; a tensor is made here from its storage's bytes, after its
size, strides and offset were checked against their number. So no file can claim more memory than
it has bytes.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..weights import WeightsError
from .safe_pickle import Name, Record, read_pickle

_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the first number of a file of torch < 1.6
_MOST_MODULES = 20_000  # a YOLOv5x has 800; a module that holds itself would have no end,
_LONGEST_NAME = 300  # and a chain of them endless names
_MOST_AXES = 8

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
# Of these a file may hold any class: they become records.
_PACKAGES = ("models", "utils", "ultralytics", "yolov5", "torch.nn")
_NAMES = frozenset(
    (
        *(f"torch.{name}" for name in _STORAGES),
        *(f"torch.{name}" for name in ("Size", "device", "float16", "float32", "bfloat16")),
        *(_TENSOR, _PARAMETER, "collections.OrderedDict", "collections.defaultdict"),
        *(f"builtins.{name}" for name in ("set", "frozenset", "dict", "list", "slice")),
        *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("numpy.ndarray", "numpy.core.multiarray._reconstruct"),
        *("numpy._core.multiarray._reconstruct", "_codecs.encode"),
        *(f"pathlib.{kind}Path" for kind in ("", "Posix", "Windows", "PurePosix", "PureWindows")),
        *("pathlib._local.PosixPath", "pathlib._local.WindowsPath", "argparse.Namespace"),
    )
)


@dataclass(frozen=True, eq=False)
class _Storage:
    """One record of the zip, of ``count`` values."""

    dtype: torch.dtype
    key: str
    count: int


class TorchFile:
    """An open PyTorch file: ``root`` is the pickle's content; ``tensor`` reads one of its records.

    Raises:
        WeightsError: no such file, of another format, cut off, or with something in it that weights
            do not need.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._storages: dict[str, bytearray] = {}
        self._taken = 0  # bytes of the tensors made so far
        try:
            self._zip = zipfile.ZipFile(path)
            infos = self._zip.infolist()
        except BROKEN as error:
            raise WeightsError(_why_no_zip(path, error)) from None
        self._sizes = {info.filename: info.file_size for info in infos}
        if any(name.endswith("constants.pkl") for name in self._sizes):
            raise WeightsError(f"{path} is a TorchScript file; give the checkpoint it was made of")
        packed = any(info.compress_type != zipfile.ZIP_STORED for info in infos)
        if packed or len(infos) != len(self._sizes) or self.size > path.stat().st_size:
            raise WeightsError(f"{path} is a zip that PyTorch did not write")
        pickles = [name for name in self._sizes if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"{path} is a zip, but none of PyTorch's: it has no data.pkl")
        self._folder = pickles[0].removesuffix("data.pkl")
        if self._read_if_there("byteorder", b"little") != b"little":
            raise WeightsError(f"{path} was written on a big-endian machine; save it on another")
        try:
            self.root = read_pickle(bytes(self._read(pickles[0])), _is_allowed, _storage)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(self._sizes.values())

    def close(self) -> None:
        self._zip.close()

    def tensor(self, value: Any) -> Tensor | None:
        """The tensor that a record stands for; None for anything else.

        Raises:
            WeightsError: its size, strides and offset reach outside of its storage.
        """
        if isinstance(value, Record) and value.is_a(_PARAMETER) and value.args:
            value = value.args[0]
        if not isinstance(value, Record) or not value.is_a(_TENSOR):
            return None
        arguments: tuple[Any, ...] = (*value.args, None, None, None, None)
        storage, offset, size, stride = arguments[:4]
        if not isinstance(storage, _Storage) or not _fits(storage.count, offset, size, stride):
            raise WeightsError(f"{self._path}: a tensor is larger than its storage")
        if size == (0,):
            return torch.empty(0, dtype=storage.dtype)
        self._taken += math.prod(size) * storage.dtype.itemsize
        if self._taken > self.size:
            raise WeightsError(f"{self._path}: the tensors are larger than the file")
        flat = torch.frombuffer(self._bytes_of(storage), dtype=storage.dtype, count=storage.count)
        return flat.as_strided(size, stride, offset).clone()

    def module_state(self, module: Record) -> dict[str, Tensor]:
        """The state dict of a module that was saved whole: its parameters and buffers by name.

        Raises:
            WeightsError: the module is not built as PyTorch builds them.
        """
        state: dict[str, Tensor] = {}
        for prefix, part in submodules(module).items():
            for group in ("_parameters", "_buffers"):
                for name, value in part.state.get(group, {}).items():
                    if (tensor := self.tensor(value)) is not None:
                        state[f"{prefix}.{name}".lstrip(".")] = tensor
        return state

    def _bytes_of(self, storage: _Storage) -> bytearray:
        if storage.key not in self._storages:
            self._storages[storage.key] = self._read(f"{self._folder}data/{storage.key}")
        data = self._storages[storage.key]
        if len(data) < storage.count * storage.dtype.itemsize:
            raise WeightsError(f"{self._path}: storage {storage.key!r} is smaller than its tensors")
        return data

    def _read(self, name: str) -> bytearray:
        try:
            return bytearray(self._zip.read(name))
        except BROKEN:
            raise WeightsError(f"{self._path} is damaged at {name!r}; fetch it again") from None

    def _read_if_there(self, name: str, default: bytes) -> bytes:
        name = self._folder + name
        return bytes(self._read(name)).strip() if name in self._sizes else default


BROKEN = (
    *(zipfile.BadZipFile, OSError, ValueError, LookupError, RuntimeError, EOFError, struct.error),
    *(zlib.error, OverflowError, MemoryError, NotImplementedError),
)


def submodules(module: Record) -> dict[str, Record]:
    """A saved module and all modules in it by dotted name; its own name is empty.

    Raises:
        WeightsError: the module is not built as PyTorch builds them.
    """
    found: dict[str, Record] = {}
    waiting: list[tuple[str, Any]] = [("", module)]
    while waiting:
        name, part = waiting.pop()
        groups: list[Any] = [part.state.get(g, {}) for g in _GROUPS] if is_module(part) else [None]
        sound = all(isinstance(group, dict) for group in groups)
        if not sound or len(found) >= _MOST_MODULES or len(name) > _LONGEST_NAME:
            raise WeightsError(f"the saved module {name[:80]!r} is none that PyTorch wrote")
        found[name] = part
        children = [(key, child) for key, child in groups[0].items() if child is not None]
        waiting += [(f"{name}.{key}".lstrip("."), child) for key, child in reversed(children)]
    return found


_GROUPS = ("_modules", "_parameters", "_buffers")


def is_module(value: Any) -> bool:
    """Whether a value of a file is an ``nn.Module`` that was saved whole."""
    return isinstance(value, Record) and isinstance(value.state, dict) and "_modules" in value.state


def _is_allowed(name: Name) -> bool:
    package = any(f"{name.module}.".startswith(f"{allowed}.") for allowed in _PACKAGES)
    return package or str(name) in _NAMES


def _storage(reference: Any) -> _Storage:
    """What ``("storage", class, key, device, count)`` stands for; torch writes no other."""
    kind, cls, key, _, count = reference
    dtype = _STORAGES.get(cls.name) if isinstance(cls, Name) and cls.module == "torch" else None
    if kind != "storage" or dtype is None or not isinstance(key, str) or not _is_count(count):
        raise WeightsError("the file refers to something that is no storage of numbers")
    return _Storage(dtype, key, count)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _fits(count: int, offset: Any, size: Any, stride: Any) -> bool:
    """Whether a view stays within ``count`` values, and repeats none of them."""
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        return False
    if len(size) > _MOST_AXES or not all(map(_is_count, (offset, *size, *stride))):
        return False
    if size == (0,):
        return True
    values, last = 1, offset
    for length, step in zip(size, stride, strict=True):
        values *= length
        last += (length - 1) * step
    return 0 < values <= count and last < count


def _why_no_zip(path: Path, error: Exception) -> str:
    if not path.is_file():
        return f"no weights file at {path}"
    with path.open("rb") as file:
        start = file.read(32)
    if _LEGACY_MAGIC in start:
        return (
            f"{path} is in PyTorch's format of before 1.6, which cannot be read safely; load it "
            "where you trust it and torch.save it again"
        )
    if start.startswith(b"PK"):
        return f"{path} is cut off or damaged ({error}); fetch it again"
    return f"{path} is no PyTorch file"
