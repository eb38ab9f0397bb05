"""Runtimes of edgeark's own environment, run in a process that cannot touch the user's files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..toolchains import Toolchain, call

if TYPE_CHECKING:
    from .base import Artifact

UNTRUSTED_BYTES = 4 * 2**30  # of memory, for a file that somebody else may have made
_TIMEOUT_S = 300  # and one more an image: these runtimes take milliseconds


@dataclass(frozen=True)
class _OwnEnvironment(Toolchain):
    """edgeark's, which is there."""

    def ensure(self) -> Path:
        return Path(sys.executable)


def call_own_worker(
    name: str,
    home: Path,
    arguments: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    log: Path,
    preloads: bool = False,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The function ``run`` of ``home/worker.py``, confined; see :func:`toolchains.call`.

    Args:
        name: of the target, for errors.
        home: the folder of the worker.
        arguments: JSON values.
        arrays: each has one row an image.
        log: of what it prints.
        preloads: see :class:`.Toolchain`.
    """
    environment = _OwnEnvironment(
        name, packages=(), home=home, python="", download_mb=0, preloads=preloads
    )
    count = max(map(len, arrays.values()))
    return call(
        *(environment, "run", arguments, arrays),
        log=log,
        timeout=_TIMEOUT_S + count,
        confined=True,
        memory_bytes=UNTRUSTED_BYTES,
    )


def run_in_worker(
    artifact: Artifact, images: np.ndarray, log: Path
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A target's own ``run``, in the worker of this folder.

    Returns:
        The value ``ms_per_image`` and the arrays ``output0`` ...; neither: it runs nothing.
    """
    arguments = {
        "target": artifact.target,
        "precision": artifact.precision,
        "folder": str(artifact.folder.resolve()),
        "files": list(artifact.files),
        "settings": dict(artifact.settings),
        "sources": list(artifact.sources),
        "places": [str(Path(place).resolve()) for place in sys.path if place],
    }
    home = Path(__file__).resolve().parent
    return call_own_worker(artifact.target, home, arguments, {"images": images}, log, preloads=True)
