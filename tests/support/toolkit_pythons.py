"""Pythons of their own for tests, as a user has for a toolkit that edgeark cannot install."""

from __future__ import annotations

import sys
import venv
from pathlib import Path


def make_python(folder: Path, *places: str | Path) -> Path:
    """A new environment's Python, which has the packages in ``places`` and those of this one."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "places.pth").write_text("\n".join([*map(str, places), *ours]) + "\n")
    return folder / "bin" / "python"
