"""--tool NAME=PATH: a program of the user's goes to the targets that use it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from edgeark import cli
from edgeark.errors import EdgearkError
from edgeark.export.targets import find_target, find_targets
from edgeark.export.targets.tools import parse_tools, set_tools
from support.rknn1_cases import packages_of
from support.toolkit_pythons import make_python

BOTH = "rknn1:rk1808,tensorrt"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has rknn1's toolkit, or what stands in for it."""
    folder = tmp_path_factory.mktemp("toolkit")
    return make_python(folder / "venv", *packages_of(folder / "packages"))


def test_each_tool_goes_to_its_target(python: Path) -> None:
    rknn1, tensorrt, _ = targets = find_targets(f"{BOTH},onnxruntime")
    set_tools(targets, {"rknn1": python})
    assert [target.tool_path for target in (rknn1, tensorrt)] == [python, None]


def test_the_row_without_a_tool_is_as_ever(
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["edgeark", "export", "mnist", "--to", BOTH, "--limit", "8", "--json"]
    options = ["--tool", f"rknn1={python}", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    rows = json.loads(capsys.readouterr().out)
    found = {(row["target"], row["status"], row["evidence"]) for row in rows}
    assert found == {("rknn1:rk1808", "ok", "simulated"), ("tensorrt", "ok", "generated")}
    assert ended.value.code == 0


@pytest.mark.parametrize(("name", "module"), [("tensorrt", "tensorrt"), ("rknn1", "rknn")])
def test_a_python_without_the_toolkit_is_refused(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the toolkit's name where one stands is not the toolkit."""
    bare = make_python(tmp_path / "venv")
    for folder in ("rknn", "tensorrt"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgearkError, match=f"has no module {module}; name one that has it"):
        set_tools(find_targets(BOTH), {name: bare})


def test_that_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["edgeark", "export", "mnist", "--to", "tensorrt", "--out", str(tmp_path / "out")]
    bare = make_python(tmp_path / "venv")
    monkeypatch.setattr(sys, "argv", [*command, "--tool", f"tensorrt={bare}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "has no module tensorrt" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("targets", "tool", "words"),
    [
        ("onnxruntime", "pplnn", "no target among onnxruntime uses it; they use no external tool"),
        ("pplnn,mnn", "rknn1", "no target among pplnn, mnn uses it; they use pplnn"),
        ("tensorrt", "tensorrt", "there is no such program"),
    ],
)
def test_a_tool_that_fits_nothing(targets: str, tool: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(EdgearkError, match=words):
        set_tools(find_targets(targets), {tool: tmp_path / "python"})


@pytest.mark.parametrize("option", ["pplnn", "=/bin/true", "pplnn=", ""])
def test_an_option_of_another_form(option: str) -> None:
    with pytest.raises(EdgearkError, match="write NAME=PATH"):
        parse_tools([option])


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "no program"])
def test_a_program_that_is_no_python(script: str, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(script)
    program.chmod(0o755)
    with pytest.raises(EdgearkError, match="does not answer as a Python does"):
        set_tools([find_target("tensorrt")], {"tensorrt": program})
