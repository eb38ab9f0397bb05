"""Folders of work in progress: a process holds its own, and collects those of dead ones."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
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


def _hold(folder: Path) -> int | None:
    """The lock on a folder, which ends with the process; None where another has it."""
    if fcntl is None:
        return None
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(place)
        return None
    return place
