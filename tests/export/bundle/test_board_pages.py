"""The commands of ``docs/boards``, run as far as a PC can run them: with a smaller network."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command import Run
from support.programs import run_program
from support.target_base import installed_target

PAGES = sorted((Path(__file__).parents[3] / "docs" / "boards").glob("*.md"))
SMALLER = "mnist_kpu"  # every one of these targets takes it
HERE_ALONE = ("edgeark ", "scp ", "cd ", "adb pull", "python3 python/run.py")


def commands(page: Path) -> list[str]:
    """The lines of its blocks, those that go on joined."""
    lines = [line[4:] for line in page.read_text().splitlines() if line.startswith("    ")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def simple(text: str) -> str:
    """Without comments and line breaks."""
    return re.sub(r"(?:\\?\s)+", " ", re.sub(r"  +#.*", "", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(
    page: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).save("photo.png")
    lines = commands(page)
    made = next(line for line in lines if line.startswith("edgeark bundle"))
    model, name = shlex.split(made)[2], re.findall(r"--to (\S+)", made)[0]
    bundle = tmp_path / re.findall(r"--out (\S+)", made)[0]
    target = installed_target(name)
    for line in lines:
        _, *words = shlex.split(line.replace(model, SMALLER))
        if line == made:
            done = run(*words, "--limit", "20")
            assert done.status == 0, done.err
        elif line.startswith("edgeark"):
            # Only a board writes board.json.
            if "--board" not in words or Path("board.json").exists():
                done = run(*words)
                assert done.status == 0, done.err
        elif line.startswith("python3 python/run.py") and name == "onnxruntime":
            found = run_program(bundle, target, *words[1:])
            assert found.status == 0, found.err
    readme = simple((bundle / "README.md").read_text())
    strange = [line for line in lines if not line.startswith(HERE_ALONE)]
    assert [line for line in strange if simple(line).strip() not in readme] == []
    for program in re.findall(r"(?:python3 |&& )(\S+/run(?:\.py)?)\b", "\n".join(lines)):
        source = program.replace("cpp/build/run", "cpp/main.cpp")
        assert (bundle / source).is_file(), program


def test_every_page_is_of_a_place_that_the_readme_names() -> None:
    readme = (PAGES[0].parents[2] / "README.md").read_text()
    assert [page.stem for page in PAGES] == ["android", "browser", "k210", "raspberry_pi", "rk3588"]
    assert [page.name for page in PAGES if f"docs/boards/{page.name}" not in readme] == []
