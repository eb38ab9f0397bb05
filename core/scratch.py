"""Work in progress: a process holds its own folders and files, and collects those of dead ones."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is held, and nothing collected
    fcntl = None

_PREFIX = "edgeark-scratch-"  # not that of versions which hold nothing
_UNHELD_S = 3600  # after which a folder that nobody ever held is somebody's remains


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder in the system's place for temporary files, gone at the end.

    What killed processes have left there goes first.
    """
    place = Path(tempfile.gettempdir())
    collect(place, _PREFIX)
    with held_folder(place / f"{_PREFIX}{name}-{secrets.token_hex(6)}") as folder:
        yield folder


@contextmanager
def held_folder(path: Path) -> Iterator[Path]:
    """A new folder, which :func:`collect` leaves alone for as long as this process lives.

    It is gone at the end, unless it has been given another name by then.
    """
    unheld = path.with_name(f".{path.name.lstrip('.')}.unheld")
    unheld.mkdir(mode=0o700)
    place = _hold(unheld)
    try:
        unheld.rename(path)
        yield path
    finally:
        shutil.rmtree(unheld, ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)
        if place is not None:
            os.close(place)


@contextmanager
def held_file(path: Path, suffix: str) -> Iterator[Path]:
    """A new, empty file beside ``path``, which is written to and may then take its place.

    Those that killed processes have left there for the same ``path`` go first; this one is gone at
    the end, unless it has been given another name by then.

    Args:
        path: where the file will come to.
        suffix: of the new file's name.
    """
    prefix = f".{path.stem}."
    for other in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        if (held := _hold_file(other)) is not None:
            other.unlink(missing_ok=True)
            os.close(held)
    partial = path.with_name(f"{prefix}{secrets.token_hex(6)}{suffix}")
    partial.touch()
    held = _hold_file(partial)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def _hold_file(path: Path) -> int | None:
    """As :func:`_hold`; None as well for what is gone or is no regular file of this user."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid():
            return _hold(path)
    return None


def collect(parent: Path, prefix: str, suffix: str = "") -> None:
    """Delete the folders of that name in ``parent`` that no living process holds."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            name = entry.name
            is_unheld = name.startswith(f".{prefix.lstrip('.')}") and name.endswith(".unheld")
            if not (is_unheld or (name.startswith(prefix) and name.endswith(suffix))):
                continue
            with contextlib.suppress(OSError):
                is_own = entry.stat(follow_symlinks=False).st_uid == os.getuid()
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if not entry.is_dir(follow_symlinks=False) or not is_own:
                    continue
                if is_unheld and age < _UNHELD_S:
                    continue
                place = _hold(Path(entry.path))
                if place is not None:
                    shutil.rmtree(entry.path, ignore_errors=True)
                    os.close(place)


def _hold(place: Path) -> int | None:
    """The lock on a folder or a file, which ends with the process; None where another has it."""
    if fcntl is None:
        return None
    held = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held
