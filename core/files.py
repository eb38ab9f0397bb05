"""Read files that may be anything: a device that never ends, a pipe, or far too large."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from pathlib import Path

MOST_IMAGE_BYTES = 2**30  # of an encoded image; its pixels are limited on their own
MOST_TEXT_BYTES = 2**26


def read_file(path: Path, most: int = MOST_TEXT_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: a file, and nothing else: what a pipe or a device gives may never end.
        most: bytes.

    Raises:
        OSError: there is none, it is of another kind, or larger.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        reason = "it is a folder" if path.is_dir() else "it is no regular file"
        raise OSError(errno.EINVAL, reason, str(path))
    with path.open("rb") as file:
        content = file.read(most + 1)
    return _limited(content, len(content), most, str(path))


def read_text_file(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """The same as UTF-8 text.

    Raises:
        OSError: see :func:`read_file`.
        UnicodeDecodeError: it is no such text.
    """
    return read_file(path, most).decode("utf-8")


def read_entry(archive: zipfile.ZipFile, name: str, most: int = MOST_IMAGE_BYTES) -> bytes:
    """The content of a file in a zip, whose size is known before it is unpacked.

    Raises:
        OSError: it is larger than ``most`` bytes, broken, encrypted, or packed in an unknown way.
    """
    _limited(b"", archive.getinfo(name).file_size, most, name)
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise OSError(errno.EINVAL, f"it cannot be unpacked ({error})", name) from None


def _limited(content: bytes, size: int, most: int, name: str) -> bytes:
    if size > most:
        raise OSError(errno.EFBIG, f"more than {most // 2**20} MiB are not read", name)
    return content
