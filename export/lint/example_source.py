"""The source text of an example, with what it uses of its module."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from ...errors import EdgearkError
from .examples import Example

_ARGUMENTS = ("rule", "bad", "good")


def source_text(example: Example) -> tuple[str, str]:
    """What ``bad`` and ``good`` are, as Python that needs ``torch``, ``nn`` and ``f`` alone.

    ``f`` is ``torch.nn.functional``. Functions and constants of the example's module come first.

    Raises:
        EdgearkError: the line that made the example holds no call, or several.
    """
    path, line = example.place
    calls = [node for node in _calls(path) if node.lineno == line]
    if len(calls) != 1:
        raise EdgearkError(f"{path}:{line}: write one example a line")
    given = dict(zip(_ARGUMENTS, calls[0].args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in calls[0].keywords if keyword.arg}
    bad, good = (_with_definitions(given[key], path) for key in ("bad", "good"))
    return bad, good


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _calls(path: str) -> Iterator[ast.Call]:
    """Those that make examples: the first argument is a rule's name."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and len(node.args) + len(node.keywords) >= len(_ARGUMENTS):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node


def _with_definitions(expression: ast.expr, path: str) -> str:
    found: dict[str, str] = {}
    _define(expression, path, found)
    return "\n\n".join([*found.values(), ast.unparse(expression)])


def _define(node: ast.AST, path: str, found: dict[str, str]) -> None:
    """Add what ``node`` uses, each after what it uses itself."""
    known = _definitions(path)
    for name in [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]:
        if name in known and name not in found:
            where, definition = known[name]
            found[name] = ""  # a function that calls itself
            _define(definition, where, found)
            del found[name]
            found[name] = ast.unparse(definition)


@functools.cache
def _definitions(path: str) -> dict[str, tuple[str, ast.stmt]]:
    """File and statement of each name that the module defines, or imports from other examples."""
    known: dict[str, tuple[str, ast.stmt]] = {}
    for node in _tree(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            known[node.name] = path, node
        elif isinstance(node, ast.Assign):
            known |= {t.id: (path, node) for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").endswith("examples"):
            folder = Path(path).parents[max(node.level - 1, 0)]
            other = folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
            theirs = _definitions(str(other))
            known |= {a.name: theirs[a.name] for a in node.names if a.name in theirs}
    return known
