"""How a backend's runtime is fed on a board, and where the code lies that calls it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Language = Literal["python", "cpp", "kotlin", "web"]
LANGUAGES: Mapping[Language, str] = {
    "python": "runtime.py",
    "cpp": "runtime.cpp",
    "kotlin": "android.md.jinja",  # it calls the C++ program's parts
    "web": "runtime.mjs",
}


@dataclass(frozen=True)
class BoardRuntime:
    """A backend's part of a board program.

    ``home`` is the folder with the code: ``runtime.py`` with ``board.md.jinja`` (how the runtime is
    installed), ``runtime.cpp`` with ``build.cmake`` (finds the runtime, links it) and
    ``build.md.jinja`` (how the program is built), ``android.md.jinja`` (how an app is made of
    them), or ``runtime.mjs`` with ``page.md.jinja``.
    ``headers`` are further C++ files that ``runtime.cpp`` includes, perhaps of another backend.
    ``library`` gives the runtime's files that go along, once they are there. The other fields say
    what the runtime's input is there, which may be something else than what the converter's own
    tools take.
    """

    home: Path
    input_type: Literal["float32", "uint8"] = "float32"
    input_layout: Literal["NCHW", "NHWC"] = "NCHW"
    normalized_by: Literal["program", "model"] = "program"
    headers: tuple[Path, ...] = ()
    takes_sources: bool = False  # the export's sources go along, for a simulator on a PC
    library: Callable[[], Mapping[str, Path]] = dict  # by the name in the bundle

    @property
    def languages(self) -> tuple[Language, ...]:
        return tuple(each for each, file in LANGUAGES.items() if (self.home / file).exists())


@dataclass(frozen=True)
class Bundle:
    """A written folder for a board; ``details`` are further JSON values about it."""

    folder: Path
    files: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "files": list(self.files), **self.details}
