"""--toolkit-python: a Python of the user's goes to the targets whose toolkit it has."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from edgeark import cli
from edgeark.errors import EdgearkError
from edgeark.export.pipeline import give_python
from edgeark.export.targets import find_target, find_targets
from rknn1_cases import packages_of
from toolkit_pythons import make_python

BOTH = "rknn1:rk1808,tensorrt"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has rknn1's toolkit, or what stands in for it."""
    folder = tmp_path_factory.mktemp("toolkit")
    return make_python(folder / "venv", *packages_of(folder / "packages"))


def test_a_target_whose_toolkit_is_not_there_goes_without(
    python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rknn1, tensorrt, _ = targets = find_targets(f"{BOTH},onnxruntime")
    with caplog.at_level(logging.INFO):
        give_python(targets, python)
    assert [target.toolkit_python for target in (rknn1, tensorrt)] == [python, None]
    (said,) = caplog.messages
    assert said == f"tensorrt goes without --toolkit-python: {python} has no tensorrt"


def test_its_row_is_that_of_an_export_without(
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["edgeark", "export", "mnist", "--to", BOTH, "--limit", "8", "--json"]
    options = ["--toolkit-python", str(python), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    rows = json.loads(capsys.readouterr().out)
    found = {(row["target"], row["status"], row["evidence"]) for row in rows}
    assert found == {("rknn1:rk1808", "ok", "simulated"), ("tensorrt", "ok", "generated")}
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("names", "lacking"),
    [("tensorrt", "tensorrt"), (BOTH, "rknn and no tensorrt"), ("rknn1:all", "rknn")],
)
def test_a_python_that_no_target_can_use_is_a_mistake(
    names: str, lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder where one stands that is called like a toolkit is none."""
    bare = make_python(tmp_path / "venv")
    for name in ("rknn", "tensorrt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgearkError, match=f"has no {lacking}: name a Python that has"):
        give_python(find_targets(names), bare)


def test_that_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["edgeark", "export", "mnist", "--to", "tensorrt", "--out", str(tmp_path / "out")]
    bare = make_python(tmp_path / "venv")
    monkeypatch.setattr(sys, "argv", [*command, "--toolkit-python", str(bare)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "has no tensorrt" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_it_is_for_those_targets_alone_that_take_one(tmp_path: Path) -> None:
    with pytest.raises(
        EdgearkError, match="is for rknn1 and tensorrt alone; onnxruntime needs none"
    ):
        give_python([find_target("onnxruntime")], Path(sys.executable))
    with pytest.raises(EdgearkError, match="there is no such program"):
        give_python([find_target("tensorrt")], tmp_path / "python")


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "no program"])
def test_a_program_that_is_no_python(script: str, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(script)
    program.chmod(0o755)
    with pytest.raises(EdgearkError, match="does not answer as a Python does"):
        give_python([find_target("tensorrt")], program)
