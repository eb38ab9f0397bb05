"""Pages of the documentation: the commands of the first ones run, and translations say the same."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.targets.names import CHIPS, chips_index
from PIL import Image
from support.command import Run

ROOT = Path(__file__).parents[1]
TRANSLATIONS = {page: ROOT / "docs" / page.name for page in sorted((ROOT / "docs/zh").glob("*.md"))}
TRANSLATIONS[ROOT / "docs/zh/README.md"] = ROOT / "README.md"


def without_comments(text: str) -> str:
    return re.sub(r"(^|\s+)#.*", "", text)


def code_of(page: Path) -> list[str]:
    """The lines of its blocks, indented and fenced; comments are translated."""
    lines, is_fenced = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            lines.append(without_comments(line))
    return [line for line in lines if line.strip()]


def table_facts(page: Path) -> list[list[str]]:
    """Numbers and code of each row of its tables, in any order of words."""
    rows = (line for line in page.read_text().splitlines() if line.startswith("| "))
    return [sorted(re.findall(r"`[^`]+`|\d+(?:[.,]\d+)*", row)) for row in rows]


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_a_translation_has_the_same_commands_and_figures(page: Path) -> None:
    original = TRANSLATIONS[page]
    assert code_of(page) == code_of(original)
    assert table_facts(page) == table_facts(original)
    headings = [re.findall(r"^#+", p.read_text(), re.MULTILINE) for p in (page, original)]
    assert headings[0] == headings[1]
    for one, other in ((page, original), (original, page)):
        (link,) = re.findall(r"\[(?:English|简体中文)\]\(([^)]+)\)", one.read_text())
        assert (one.parent / link).resolve() == other


@pytest.mark.parametrize("page", [*TRANSLATIONS, *TRANSLATIONS.values()], ids=str)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert links and [link for link in links if not (page.parent / link).exists()] == []


def test_the_commands_of_the_first_page_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a few images; all but ``make demo``, which ``test_demo.py`` has."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/get_started.md").read_text()
    (network,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    Path("my_net.py").write_text(network)
    images = np.random.default_rng(0).integers(0, 256, (12, 40, 50, 3), np.uint8)
    Path("photos").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(f"photos/{index}.png")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    edgeark ")]
    assert [command.split()[1] for command in commands] == ["check", "export", "run", "bundle"]
    for command in commands:
        done = run(*shlex.split(command)[1:])
        may_fail = "check" in command  # what it finds is its status
        assert done.status in ((0, 1) if may_fail else (0,)), done.err
    assert Path("board/README.md").is_file() and Path("board/python/run.py").is_file()


def test_the_page_of_the_command_line_is_as_generated(tmp_path: Path) -> None:
    """Else: make docs."""
    command = [sys.executable, "-m", "typer", "edgeark.cli", "utils", "docs", "--name", "edgeark"]
    subprocess.run([*command, "--output", tmp_path / "cli.md"], check=True, capture_output=True)
    assert (tmp_path / "cli.md").read_text() == (ROOT / "docs/cli.md").read_text()


def test_every_page_is_on_the_site() -> None:
    """In its navigation; rule pages are linked from the pages of their targets."""
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert {page for page in pages if not page.startswith("rules/")} == listed - {"index.md"}


def test_the_list_of_chips_is_as_the_classes_say() -> None:
    """Else: make docs."""
    assert CHIPS.read_text(encoding="utf-8") == chips_index()
