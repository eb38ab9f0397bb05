"""Arrays of images that may be larger than memory: in RAM, or in a scratch file on disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.settings import cache_folder
from ...errors import DataError

MAX_BYTES_IN_MEMORY = 2**29  # of one array; more goes to a scratch file in the cache folder


class StoredArray:
    """A uint8 array ``[N, ...]`` in a file, read row by row: memory holds what is asked for.

    The file has no name and vanishes with the process. It is read with ``pread``, since pages of
    a memory map would count as this process's memory. It behaves as an ``ndarray`` in what
    training needs of one: ``shape``, ``len``, indexing along the first axis, iteration.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, file: Any, shape: tuple[int, ...], rows: np.ndarray | None = None) -> None:
        self._file, self._row_shape = file, shape[1:]
        self._rows = np.arange(shape[0]) if rows is None else rows
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64))

    @classmethod
    def create(cls, shape: tuple[int, ...]) -> StoredArray:
        """A new one, of zeros.

        Raises:
            DataError: the cache folder's disk has no room for it.
        """
        folder = cache_folder() / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        size = int(np.prod(shape, dtype=np.int64))
        if shutil.disk_usage(folder).free < size + 2**28:
            raise DataError(
                f"the images need {size / 2**30:.1f} GiB of scratch space in {folder}: make room, "
                "or set $EDGEARK_CACHE to a folder on another disk"
            )
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open for the array's life)
        file.truncate(size)
        return cls(file, shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._row_shape)

    @property
    def ndim(self) -> int:
        return 1 + len(self._row_shape)

    @property
    def nbytes(self) -> int:
        return len(self._rows) * self._row_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            return self[index[0]][(slice(None), *index[1:])]
        rows = self._rows[index]
        if np.ndim(rows) == 0:
            return self._read(int(rows))
        found = np.empty((len(rows), *self._row_shape), np.uint8)
        for place, row in enumerate(rows.tolist()):
            found[place] = self._read(row)
        return found

    def __setitem__(self, index: int, row: np.ndarray) -> None:
        try:
            content = np.ascontiguousarray(row, np.uint8).tobytes()
            os.pwrite(self._file.fileno(), content, int(self._rows[index]) * self._row_bytes)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(f"no room left for the images in {cache_folder()}") from None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> StoredArray:
        """A view of some rows, bool or int; nothing is read."""
        return StoredArray(self._file, self.shape, self._rows[rows])

    def _read(self, row: int) -> np.ndarray:
        content = os.pread(self._file.fileno(), self._row_bytes, row * self._row_bytes)
        return np.frombuffer(bytearray(content), np.uint8).reshape(self._row_shape)


Array = Any  # an ndarray, or a StoredArray, which training uses alike


def new_array(shape: tuple[int, ...]) -> Array:
    """An array of zeros, where it fits: in memory, or on disk."""
    if int(np.prod(shape, dtype=np.int64)) <= MAX_BYTES_IN_MEMORY:
        return np.zeros(shape, np.uint8)
    return StoredArray.create(shape)


def take_rows(array: Array, rows: np.ndarray) -> Array:
    """Some rows, bool or int: a copy in memory, a view on disk."""
    return array.take(rows) if isinstance(array, StoredArray) else array[rows]


def chunks(array: Array | Sequence[Any], size: int = 256) -> Any:
    """The rows of an array, a block at a time."""
    return (array[start : start + size] for start in range(0, len(array), size))
