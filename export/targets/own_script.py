"""Whether a script in an export's folder is edgeark's own: then it may run as the user."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from ...core.files import read_text_file
from ...errors import EdgearkError


def require_own_script(path: Path, written: Iterable[str]) -> None:
    """Compare a script with those that edgeark writes, in all but its constants.

    Args:
        path: the script, from wherever it comes.
        written: what edgeark writes, each with any constants.

    Raises:
        EdgearkError: it is another program.
    """
    try:
        found = _skeleton(read_text_file(path))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise EdgearkError(f"cannot read the script {path}: {error}") from None
    if found not in map(_skeleton, written):
        raise EdgearkError(
            f"{path} is not the script that edgeark writes, and would run as you: read it, then "
            "allow it with --trust"
        )


def _skeleton(text: str) -> str:
    """The program without its first lines of words and the constants that it begins with."""
    tree = ast.parse(text)
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            statement.value = ast.Constant("")
        if isinstance(statement, ast.Assign) and _is_literal(statement.value):
            statement.value = ast.Constant("")
    return ast.dump(tree)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
