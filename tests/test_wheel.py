"""The built wheel, installed in an environment of its own, works outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


def uv(*arguments: object) -> None:
    done = subprocess.run(
        [os.fsdecode(find_uv_bin()), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def tracked(*patterns: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    inside = {
        name.removeprefix("edgeark/")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("edgeark/")
    }
    packages = tracked("*.py", "zoo", "training", "export", "projects", "weights")
    wanted = {
        name
        for name in packages
        if not name.startswith(("tests/", "benchmarks/", "docs/"))
        and not name.endswith((".in", "overrides.txt"))
    }
    assert wanted - inside == set()
    assert not {name for name in inside if name.startswith(("tests/", "benchmarks/"))}


def test_it_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    uv("venv", "--quiet", "--no-project", "--python", sys.executable, venv)
    uv("pip", "install", "--quiet", "--python", python, "-r", ROOT / "requirements.txt")
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", wheel)

    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def edgeark(*arguments: str) -> str:
        done = subprocess.run(
            [str(venv / "bin" / "edgeark"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=clean,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert {row["name"] for row in json.loads(edgeark("models", "--json"))} >= {"mnist"}
    where = subprocess.run(
        [str(python), "-c", "import edgeark; print(edgeark.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    ).stdout
    assert str(venv) in where
    (row,) = json.loads(
        edgeark("export", "mnist", "--to", "onnxruntime", "--limit", "50", "--json")
    )
    assert row["status"] == "ok"
    assert (tmp_path / "exports" / "mnist" / "onnxruntime" / "float32" / "model.onnx").is_file()
