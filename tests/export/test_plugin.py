"""A backend of somebody else's: built as a package, installed, and used like edgeark's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from edgeark.core.settings import cache_folder
from uv import find_uv_bin

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "edgeark-toy"
version = "0.1"

[project.entry-points."edgeark.targets"]
toy = "edgeark_toy"

[tool.setuptools]
packages = ["edgeark_toy"]
"""
TARGET = '''
"""A runtime that stores ONNX and runs it by ONNX Runtime."""

import shutil

from edgeark.export.backends.onnxruntime.target import run_onnx
from edgeark.export.targets.base import Artifact, Evidence, Target


class Toy(Target):
    name = "toy"
    description = "a toy"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "host"

    def versions(self):
        return {"edgeark-toy": "0.1"}

    def convert(self, job):
        shutil.copyfile(job.graph.onnx_of_any_opset(), job.out / "toy.onnx")
        return Artifact("toy", job.precision, job.out, ("toy.onnx",), job.normalization)

    def run(self, artifact, images, log):
        return run_onnx(artifact.path, images, artifact.settings)
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the plugin in it, built and installed by uv."""
    source = tmp_path_factory.mktemp("source")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "edgeark_toy").mkdir()
    (source / "edgeark_toy" / "__init__.py").write_text('TARGETS = {"toy": "Toy"}\n')
    (source / "edgeark_toy" / "target.py").write_text(TARGET)
    folder = tmp_path_factory.mktemp("site")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, str(source)], check=True)
    return folder


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "EDGEARK_CACHE": str(cache_folder())}
    command = [sys.executable, "-m", "edgeark", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_an_installed_backend_is_a_target(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "export", "mnist_kpu", "--to", "toy", "--limit", "50", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["target"], row["status"], row["evidence"]) == ("toy", "ok", "executed")
    again = run(site, tmp_path, "verify", "exports", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)[0]["repeat_error"] == 0


def test_a_broken_one_is_named_and_left_out(site: Path, tmp_path: Path) -> None:
    (site / "edgeark_toy" / "__init__.py").write_text("import nothing_of_that_name\n")
    done = run(site, tmp_path, "targets", "--json")
    assert done.returncode == 0 and "edgeark_toy" in done.stderr
    assert "onnxruntime" in {row["target"] for row in json.loads(done.stdout)}
