"""The idx format of the MNIST files: magic, sizes, raw bytes; plain or gzipped.

The format is described on LeCun's MNIST page: two zero bytes, a type code, the number of
dimensions, a big-endian u32 a dimension, the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ...errors import DataError

_UBYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, in the shape that its header states.

    Raises:
        DataError: the file is missing, truncated, or not an idx file of unsigned bytes.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UBYTE:
        raise DataError(f"{path} is not an idx file of unsigned bytes")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataError(f"{path} is truncated inside its header")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path} holds {len(content) - header} values, its header says {math.prod(shape)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
