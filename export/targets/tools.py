"""External programs that a backend uses and edgeark cannot install: ``--tool NAME=PATH``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import EdgearkError
from ..toolchains.process import find_modules

if TYPE_CHECKING:
    from .base import Target


@dataclass(frozen=True)
class ExternalTool:
    """A program that runs what a backend writes.

    Args:
        name: as users give it, ``--tool NAME=PATH``: the backend's own name.
        description: what the program is, in a few words.
        module: where the program is a Python: the module that it must have.
        on_path: the program is looked for on PATH where the user names none.
    """

    name: str
    description: str
    module: str = ""
    on_path: bool = False


def parse_tools(options: Iterable[str]) -> dict[str, Path]:
    """The tools of ``NAME=PATH`` options.

    Raises:
        EdgearkError: an option of another form.
    """
    tools: dict[str, Path] = {}
    for option in options:
        name, separator, path = option.partition("=")
        if not (separator and name.strip() and path.strip()):
            raise EdgearkError(f"--tool {option}: write NAME=PATH, as pplnn=/opt/ppl/pplnn")
        try:
            tools[name.strip().lower()] = Path(path.strip()).expanduser()
        except RuntimeError as error:  # ~nobody
            raise EdgearkError(f"--tool {option}: {error}") from None
    return tools


def set_tools(targets: Sequence[Target], tools: Mapping[str, Path | str]) -> None:
    """Tell each target where its external tool is.

    Raises:
        EdgearkError: none of the targets uses that tool, there is no such program, or a Python
            lacks the module.
    """
    for name, path in tools.items():
        users = [t for t in targets if t.external_tool and t.external_tool.name == name]
        if not users:
            usable = sorted({t.external_tool.name for t in targets if t.external_tool})
            hint = f"they use {', '.join(usable)}" if usable else "they use no external tool"
            named = ", ".join(target.full_name for target in targets)
            raise EdgearkError(f"--tool {name}: no target among {named} uses it; {hint}")
        program = Path(path)
        if not os.access(program, os.X_OK) or program.is_dir():
            raise EdgearkError(f"--tool {name}={path}: there is no such program")
        program = program.absolute()  # not resolved: a virtual environment is entered by its link
        tool = users[0].external_tool
        assert tool is not None
        if tool.module and tool.module not in find_modules(program, [tool.module]):
            raise EdgearkError(
                f"--tool {name}={path}: this Python has no module {tool.module}; "
                "name one that has it"
            )
        for target in users:
            target.tool_path = program
