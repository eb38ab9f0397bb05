"""Imports point one way: core, zoo, training, export, cli; no module imports in a circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("core", "zoo", "training", "export", "projects", "cli")
# Inside export: the folders by height. A lower one never imports a higher one.
EXPORT_LAYERS = (
    ("export.toolchains",),
    ("export.graph",),
    ("export.kpu",),
    ("export.lint",),
    ("export.targets", "export.rewrite"),
    ("export.results",),
    ("export.backends",),
)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    _name(path): path
    for folder in LAYERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "worker.py"  # they run elsewhere and import nothing of ours
}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _walk(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """Every import, those inside functions too; not those for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield child
        if not _is_type_checking(child):
            yield from _walk(child)


def _imports(name: str) -> set[str]:
    path = FILES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in _walk(ast.parse(path.read_text())):
        if not node.level:
            continue
        base = package[: len(package) - (node.level - 1)]
        module = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            full = f"{module}.{alias.name}"
            found.add(full if full in FILES else module)
    return {each for each in found if each in FILES and each != name}


GRAPH = {name: _imports(name) for name in FILES}


def _height(name: str, layers: tuple[tuple[str, ...], ...]) -> int | None:
    for height, prefixes in enumerate(layers):
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes):
            return height
    return None


@pytest.mark.parametrize("layers", [tuple((name,) for name in LAYERS), EXPORT_LAYERS])
def test_no_import_points_up(layers: tuple[tuple[str, ...], ...]) -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in sorted(others)
        if (mine := _height(name, layers)) is not None
        and (theirs := _height(other, layers)) is not None
        and theirs > mine
    ]
    assert wrong == []


def test_no_module_imports_in_a_circle() -> None:
    done: set[str] = set()
    circles: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circles.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in sorted(GRAPH[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())
    assert circles == []


def test_the_core_of_export_names_no_backend() -> None:
    backends = [path.name for path in (ROOT / "export/backends").iterdir() if path.is_dir()]
    core = [n for n in GRAPH if n.startswith("export") and not n.startswith("export.backends")]
    wrong = [f"{n} imports {o}" for n in core for o in GRAPH[n] if o.startswith("export.backends.")]
    assert backends and wrong == []


def test_every_module_has_a_folder() -> None:
    """But for the front door, the program and the errors, which users import by name."""
    assert {path.name for path in ROOT.glob("*.py")} == {
        *("__init__.py", "__main__.py", "errors.py", "setup.py")
    }


def test_the_core_is_there_at_once() -> None:
    """Help texts and mistyped names are answered without waiting for PyTorch."""
    names = ", ".join(f"edgeark.{name}" for name in FILES if name.startswith("core"))
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_checkout_is_no_second_copy() -> None:
    """From its root ``import edgeark`` works, ``import zoo`` does not give the package again."""
    works = subprocess.run([sys.executable, "-c", "import edgeark.zoo"], cwd=ROOT, check=False)
    second = subprocess.run(
        [sys.executable, "-c", "import zoo"], cwd=ROOT, capture_output=True, check=False
    )
    assert works.returncode == 0 and second.returncode != 0


def test_files_that_are_named_exist() -> None:
    """Docs, docstrings and help name tests and programs of the checkout by their path."""
    named = re.compile(
        r"(?<![\w/.])(?:tests|benchmarks|docs|export|training|zoo|core|cli)/[\w/]+\.(?:py|md)"
    )
    missing = []
    for path in [
        *ROOT.glob("*.md"),
        *(p for top in ("docs", "benchmarks", "tests", *LAYERS) for p in (ROOT / top).rglob("*.*")),
    ]:
        if path.suffix in (".md", ".py") and "rules" not in path.parts:
            text = path.read_text(encoding="utf-8")
            missing += [
                (str(path.relative_to(ROOT)), m)
                for m in named.findall(text)
                if not (ROOT / m).exists()
            ]
    assert missing == []
