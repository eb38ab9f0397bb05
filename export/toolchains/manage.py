"""Install and remove toolchains ahead of their first use, and say what they take up."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from .environment import Toolchain


def environments(chain: Toolchain) -> list[Path]:
    """The toolchain's environments that are there, those of earlier requirements too."""
    pattern = re.compile(re.escape(chain.name) + r"-[0-9a-f]{12}")
    parent = chain.folder().parent
    found = parent.iterdir() if parent.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and pattern.fullmatch(path.name))


def disk_bytes(chain: Toolchain) -> int:
    """What the environments' files add up to. uv may share them with its own cache."""
    return sum(path.lstat().st_size for folder in environments(chain) for path in folder.rglob("*"))


def install(chains: Iterable[Toolchain], on_step: Callable[[str], None] | None = None) -> None:
    """Make the environments that are missing; those of earlier requirements go.

    Raises:
        ToolchainUnavailable: one cannot be had on this machine.
        ToolchainError: an installation failed.
    """
    for chain in chains:
        if on_step:
            on_step(f"{chain.name}: about {chain.download_mb} MB")
        chain.ensure()
        for folder in environments(chain):
            if folder != chain.folder():
                _remove(folder)


def remove(chain: Toolchain) -> int:
    """Delete every environment of a toolchain; what its files added up to, in bytes.

    Waits for an installation that is under way. An export that runs in it fails.
    """
    freed = disk_bytes(chain)
    for folder in environments(chain):
        _remove(folder)
    return freed


def _remove(folder: Path) -> None:
    with FileLock(f"{folder}.lock"):
        shutil.rmtree(folder)
