"""What is wrong with ``--ray ADDRESS`` is one line, at once: Ray itself would try for minutes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from edgeark.core import ray_tasks
from support.command import Run

WORDS = ("matrix", "--models", "mnist_kpu", "--to", "onnxruntime", "--file", "results.toml")


def test_without_ray_it_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_tasks, "find_spec", lambda name: None)
    done = run(*WORDS, "--ray", "local")
    assert (done.status, done.out, list(tmp_path.iterdir())) == (2, "", [])
    assert done.err == "error: --ray needs its package: pip install 'edgeark[ray]'\n"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("here", "--ray here: write local, auto, HOST:PORT or ray://HOST:PORT"),
        ("ray://host", "--ray ray://host: write local, auto"),
        ("host:99999", "--ray host:99999: write local, auto"),
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1 (Connection refused)"),
        ("ray://nohost.invalid:1", "nothing answers at ray://nohost.invalid:1 ("),
    ],
)
def test_an_address_of_no_cluster(
    address: str, message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_tasks, "find_spec", lambda name: name)
    start = time.monotonic()
    done = run(*WORDS, "--ray", address)
    assert done.status == 2 and done.out == "" and done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1 and time.monotonic() - start < 10


def test_jobs_are_for_this_machine(run: Run) -> None:
    done = run(*WORDS, "--ray", "local", "--jobs", 2)
    assert done.status == 2 and "--jobs is for this machine" in done.err
