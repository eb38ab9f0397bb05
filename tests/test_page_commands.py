"""Commands on the pages of the documentation: the command line takes them, and knows the names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from edgeark.cli import app
from edgeark.export.targets import find_targets
from edgeark.training.config import list_recipes
from edgeark.zoo import list_models
from typer._click.exceptions import ClickException

ROOT = Path(__file__).parents[1]
GENERATED = (ROOT / "docs/cli.md", *(ROOT / "docs/rules").glob("*.md"))
PAGES = [
    p for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if p not in GENERATED
]
WITH_COMMANDS = [page for page in PAGES if "edgeark " in page.read_text(encoding="utf-8")]
SOURCES = ("check", "eval", "export", "bundle", "layers", "rewrite", "run", "info")


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind ``edgeark``, of blocks and of code in a line, if there are two or more."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    is_fenced = False
    for line in text.splitlines():
        is_fenced ^= line.startswith("```")
        found = re.findall(r"`(?:\S*/)?edgeark ([a-z][^`]*)`", line)
        block = re.match(r"(?:\S*/)?edgeark ([a-z]+(?: .*)?)$", line.removeprefix("    "))
        if block and (is_fenced or line.startswith("    ")):
            found.append(re.sub(r" #.*", "", block[1]))
        for each in found:
            words = shlex.split(each)
            if len(words) > 1 and "..." not in each:
                yield words


def is_name(word: str) -> bool:
    """Not what a reader puts another in the place of, as T, MODEL or <board>; nor a file."""
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", word))


def values(words: list[str]) -> dict[str, Any]:
    """What the command line reads of them; it exits where it does not take them."""
    name, *rest = words
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    if name == "targets":
        name, *rest = rest
        command = command.commands[name]
    with command.make_context(name, rest) as context:
        return context.params


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_command_line_takes_them(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        try:
            given = values(words)
        except (SystemExit, KeyError, ClickException) as error:
            pytest.fail(f"{' '.join(words)}: {error!r} {capsys.readouterr().err}")
        to = given.get("to")
        if isinstance(to, str) and words[0] == "eval":
            to = to.replace("pytorch,", "").replace("pytorch", "all")
        if isinstance(to, str) and all(map(str.islower, to.split(","))) and "<" not in to:
            find_targets(to)
        models = given["models"].split(",") if isinstance(given.get("models"), str) else []
        if words[0] in SOURCES and is_name(words[1]):
            models.append(words[1])
        assert [name for name in models if is_name(name) and name not in list_models()] == []
        if words[0] == "train":
            recipes = [word for word in words[1:2] if is_name(word)]
            assert set(recipes) <= set(list_recipes())


def test_there_are_many() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 150
