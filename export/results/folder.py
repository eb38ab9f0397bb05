"""The folder of one export: artifact, ``manifest.json``, golden vectors, log; whole or absent."""

from __future__ import annotations

import contextlib
import errno
import glob
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...core.scratch import collect, held_folder
from ..toolchains.environment import log_folder

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
LOG = "log.txt"
GOLDEN_COUNT = 8
_NEW, _OLD = ".new", ".old"
_ATTEMPTS = 100


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden folder beside ``final``; it takes its place if the block ends without an error.

    Of several that are made at once, the one that ends last stays. What killed processes have left
    there goes first; an earlier ``final`` that was on its way out comes back.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{final.name}."
    if not final.exists():
        for old in sorted(final.parent.glob(f"{glob.escape(prefix)}*{_OLD}")):
            with contextlib.suppress(OSError):
                old.rename(final)
    collect(final.parent, prefix, _NEW)
    collect(final.parent, prefix, _OLD)
    token = secrets.token_hex(6)
    with held_folder(final.with_name(f"{prefix}{token}{_NEW}")) as staging:
        yield staging
        _take_place(staging, final, final.with_name(f"{prefix}{token}{_OLD}"))


def _take_place(staging: Path, final: Path, old: Path) -> None:
    for attempt in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            final.rename(old)
        try:
            staging.rename(final)
            return
        except OSError as error:  # another export has put its own there meanwhile
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == _ATTEMPTS - 1:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def write_golden(
    folder: Path,
    images: np.ndarray,
    outputs: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
) -> None:
    """Some real inputs with this artifact's own answers and PyTorch's, to check a board against."""
    answers = {f"output{i}": o[:GOLDEN_COUNT] for i, o in enumerate(outputs)}
    wanted = {f"pytorch{i}": o[:GOLDEN_COUNT] for i, o in enumerate(reference)}
    arrays = {"input": images[:GOLDEN_COUNT], **answers, **wanted}
    np.savez_compressed(folder / GOLDEN, allow_pickle=False, **arrays)


def keep_log(log: Path, name: str) -> Path | None:
    """Save the log of a failed export from its folder, which will not be; None: nowhere to."""
    try:
        kept = log_folder() / f"export-{name.replace(':', '-')}.log"
        if log.exists():
            shutil.copyfile(log, kept)
        else:
            kept.touch()
    except OSError:
        return None
    return kept
