"""Checkpoints that survive a kill at any moment, and files that are whole or not there."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ..core.scratch import held_file
from ..errors import EdgearkError

logger = logging.getLogger(__name__)


class CheckpointError(EdgearkError):
    """A checkpoint cannot be read, or is not of this training."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with held_file(path, f".partial{path.suffix}") as partial:
        try:
            yield partial
        except OSError as error:  # libraries leave out where there is no room
            error.filename = error.filename or str(path)
            raise
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other trainings out of ``folder`` for as long as the block, or the process, lasts.

    Raises:
        CheckpointError: another one writes there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot make the folder {folder} ({_reason(error)})") from error
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"another training writes to {folder}: wait for it, end it, or name another folder"
        ) from None
    except (OSError, NotImplementedError):
        logger.warning("%s cannot be locked: let no other training write there", folder)
    try:
        yield
    finally:
        lock.release()


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` atomically: a full disk or a kill leaves the previous checkpoint whole.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch's zip writer says a full disk in its own way
        raise CheckpointError(
            f"cannot write {path} ({_reason(error)}); is the disk full? "
            "The checkpoint before it is kept: make room and go on with --resume"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted, never code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"nothing to resume: {path} does not exist") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
