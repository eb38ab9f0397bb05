"""A toolchain that needs no environment: a worker of a test's own, run by this Python."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from edgeark.export.toolchains import Toolchain


@dataclass(frozen=True)
class LocalToolchain(Toolchain):
    """A toolchain whose environment is this one."""

    file: Path = field(default=Path())

    @property
    def worker(self) -> Path:
        return self.file

    def ensure(self) -> Path:
        return Path(sys.executable)
