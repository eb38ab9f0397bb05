"""NumPy arrays by name, from ``.npz`` files and from pickled dicts; no code of the file is run."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.files import read_file
from ..weights import WeightsError
from .safe_pickle import Name, Record, read_pickle
from .torch_file import BROKEN

_MOST_BYTES = 2**31  # packed zeros are endless; the largest network here has 0.6 GB
_DTYPE = re.compile(r"[fiu][1248]|b1")
_RECONSTRUCT = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
_FROM_BUFFER = ("numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer")
_NAMES = frozenset(
    (*_RECONSTRUCT, *_FROM_BUFFER, "numpy.ndarray", "numpy.dtype", "_codecs.encode")
) | {"collections.OrderedDict"}


def read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of an ``.npz`` file. Each is checked against its header before it is unpacked.

    Raises:
        WeightsError: it is no such file, damaged, or an array holds no plain numbers.
    """
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
            if sum(info.file_size for info in infos) > _MOST_BYTES:
                raise WeightsError(f"{path} unpacks to more than 2 GiB")
            return {
                info.filename.removesuffix(".npy"): _as_tensor(_read_npy(file, info))
                for info in infos
            }
    except (*BROKEN, TypeError) as error:
        raise WeightsError(f"{path} is no readable .npz file of plain arrays ({error})") from None


def _read_npy(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with file.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_column, dtype = read_header(stream)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "fiub" or size > info.file_size:
            raise ValueError(f"{info.filename} is larger than its record, or holds no numbers")
        return _shaped(stream.read(size), dtype, shape, "F" if by_column else "C")


def read_numpy_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of a pickled dict ``{name: array}``.

    Raises:
        WeightsError: it is no such file, or refers to anything but NumPy's arrays.
    """
    try:
        root = read_pickle(read_file(path, 2**34), _is_allowed)
        if not isinstance(root, dict) or not root:
            raise WeightsError("it holds no dict of arrays by name")
        return {str(name): _as_tensor(_array(value)) for name, value in root.items()}
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except (*BROKEN, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no pickled dict of plain arrays ({error})") from None


def _is_allowed(name: Name) -> bool:
    return str(name) in _NAMES


def _array(value: Any) -> np.ndarray:
    """What a record of ``ndarray`` stands for, in the two ways that NumPy writes one."""
    if isinstance(value, Record) and value.is_a(*_RECONSTRUCT):
        _, shape, dtype, by_column, data = value.state
        order = "F" if by_column else "C"
    elif isinstance(value, Record) and value.is_a(*_FROM_BUFFER):
        data, dtype, shape, order = value.args
    else:
        raise ValueError("a value is no array")
    if isinstance(data, Record) and data.is_a("_codecs.encode"):
        data = data.args[0]  # protocol 2 has no bytes: they are latin-1 text
    if isinstance(data, str):
        data = data.encode("latin-1")
    return _shaped(data, _dtype(dtype), shape, order)


def _dtype(record: Any) -> np.dtype:
    code, byte_order = record.args[0], record.state[1]
    if not record.is_a("numpy.dtype") or not _DTYPE.fullmatch(code) or byte_order not in "<>|=":
        raise ValueError("an array holds no plain numbers")
    return np.dtype(code).newbyteorder(byte_order)


def _shaped(data: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _as_tensor(array: np.ndarray) -> Tensor:
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
    return torch.from_numpy(native)
