"""Toolchains of npm packages: what they ask of the machine, and that an installation is whole."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from edgeark.export.toolchains import ToolchainError, ToolchainUnavailable
from edgeark.export.toolchains.node import NodeToolchain
from support.command import Run

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeToolchain:
    """One without packages, so that npm fetches nothing."""
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    package = {"name": "small", "private": True}
    lock = {"name": "small", "lockfileVersion": 3, "packages": {"": {"name": "small"}}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    return NodeToolchain("small", (), tmp_path, ">=3.10", 1)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_program(path: Path, said: str) -> None:
    path.write_text(f"#!/bin/sh\necho {said}\n")
    path.chmod(0o755)


def test_without_node_it_is_unavailable(small: NodeToolchain, programs: Path) -> None:
    with pytest.raises(ToolchainUnavailable) as caught:
        small.ensure()
    assert str(caught.value) == (
        "small: node and npm not found: install Node.js 18 or later with npm"
    )
    write_program(programs / "node", "v20.1.0")
    assert small.lacks() == "npm not found: install Node.js 18 or later with npm"


@pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts here")
@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("v16.20.2", "Node.js 16 is too old: install 18 or later"),
        ("nonsense", "Node.js 0 is too old: install 18 or later"),
        ("v18.0.0", ""),
    ],
)
def test_an_old_node_is_named(small: NodeToolchain, programs: Path, said: str, lacks: str) -> None:
    for name in ("node", "npm"):
        write_program(programs / name, said)
    assert small.lacks() == lacks


def test_an_export_without_node_says_what_to_install(
    run: Run, programs: Path, tmp_path: Path
) -> None:
    done = run("export", "mnist_kpu", "--to", "web", "--limit", "20", "--out", tmp_path, "--json")
    (row,) = done.json
    assert row["status"] == "unavailable"
    assert row["message"].startswith("web: node and npm not found: install Node.js")


@needs_npm
def test_packages_are_installed_once(small: NodeToolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small.ensure() == Path(sys.executable) and small.is_installed()
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    small.ensure()


@needs_npm
def test_a_failed_installation_leaves_nothing(small: NodeToolchain) -> None:
    (small.home / "package.json").write_text('{"dependencies": {"nowhere": "1.0.0"}}')  # unlocked
    with pytest.raises(ToolchainError, match="installing small failed: ") as caught:
        small.ensure()
    assert not small.folder().exists() and "\n" not in str(caught.value)


def test_every_package_of_a_lock_file_has_a_hash() -> None:
    backends = Path(__file__).parents[2] / "export" / "backends"
    locks = list(backends.glob("*/package-lock.json"))
    assert locks
    for path in locks:
        packages = json.loads(path.read_text())["packages"]
        wanted = json.loads(path.with_name("package.json").read_text())["dependencies"]
        assert packages.pop("")["dependencies"] == wanted
        assert all(each["integrity"].startswith("sha512-") for each in packages.values())
        pinned = {name: packages[f"node_modules/{name}"]["version"] for name in wanted}
        assert pinned == wanted
