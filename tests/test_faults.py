"""Errors nobody foresaw, ends that nobody chose, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from edgeark.core import scratch
from edgeark.core.scratch import collect, held_folder, scratch_folder
from edgeark.export.results.folder import staged_folder
from edgeark.export.toolchains.environment import dying_with_us
from edgeark.training.checkpoint import atomic_path
from support.command import Run


def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What dead processes leave.

STAGES = """
import sys, time
from pathlib import Path
from edgeark.export.results.folder import staged_folder
from edgeark.core.scratch import scratch_folder
with scratch_folder("test") as scratch, staged_folder(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print(scratch, flush=True)
    time.sleep(600)
"""


def test_the_next_one_collects_what_a_killed_one_left(tmp_path: Path) -> None:
    final, temporary = tmp_path / "out" / "float32", tmp_path / "tmp"
    temporary.mkdir()
    dead, alive = (start(STAGES, final, TMPDIR=str(temporary)) for _ in range(2))
    try:
        scratches = [Path(process.stdout.readline().strip()) for process in (dead, alive)]  # type: ignore[union-attr]
        assert len(names(final.parent)) == 2
        dead.kill()
        dead.wait()
        with staged_folder(final) as folder:
            (folder / "whole").touch()
        assert names(final) == ["whole"]
        assert len(names(final.parent)) == 2, "that of the living one is left alone"
        collect(temporary, "edgeark-")
        assert [path.exists() for path in scratches] == [False, True]
    finally:
        for process in (dead, alive):
            process.kill()
            process.wait()
    with staged_folder(final):
        pass
    assert names(final.parent) == ["float32"]


def test_an_export_that_was_on_its_way_out_comes_back(tmp_path: Path) -> None:
    """A kill between the two renamings would have lost it."""
    final = tmp_path / "float32"
    old = tmp_path / ".float32.0123.old"
    old.mkdir()
    (old / "earlier").touch()
    with pytest.raises(RuntimeError), staged_folder(final):
        raise RuntimeError
    assert names(final) == ["earlier"] and names(tmp_path) == ["float32"]


def test_exports_into_one_folder_never_fail(tmp_path: Path) -> None:
    final = tmp_path / "float32"

    def export(index: int) -> None:
        for _ in range(40):
            with staged_folder(final) as folder:
                (folder / str(index)).touch()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(export, range(4)))
    assert len(names(final)) == 1 and names(tmp_path) == ["float32"]


def test_folders_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("edgearkish", "other", "edgeark-file", ".edgeark-young.unheld"):
        (tmp_path / name).mkdir() if "file" not in name else (tmp_path / name).touch()
    (tmp_path / "edgeark-link").symlink_to(tmp_path / "other")
    with held_folder(tmp_path / "edgeark-mine"):
        collect(tmp_path, "edgeark-")
        assert len(names(tmp_path)) == 6
    collect(tmp_path / "none", "edgeark-")
    monkeypatch.setattr(scratch, "_UNHELD_S", -1)
    collect(tmp_path, "edgeark-")
    assert names(tmp_path) == ["edgeark-file", "edgeark-link", "edgearkish", "other"]


def test_a_scratch_folder_is_gone_at_the_end() -> None:
    with scratch_folder("x") as folder:
        assert folder.parent == Path(tempfile.gettempdir()) and folder.is_dir()
        (folder / "a").mkdir()
    assert not folder.exists()


# Ends.

LIVES = """
import subprocess, sys, time
from edgeark.export.toolchains.environment import dying_with_us
child = subprocess.Popen(dying_with_us([sys.executable, "-c", "import time; time.sleep(600)"]))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a child of it")
def test_an_installer_dies_with_its_parent() -> None:
    parent = start(LIVES)
    pid = int(parent.stdout.readline())  # type: ignore[union-attr]
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    wait_for(lambda: not _is_running(pid))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_its_status_is_the_programs() -> None:
    done = subprocess.run(dying_with_us([sys.executable, "-c", "raise SystemExit(7)"]), check=False)
    assert done.returncode == 7


WAITS = """
import sys, time
from edgeark import cli
from edgeark.cli import zoo
from edgeark.core.scratch import scratch_folder

def models(*_, **__):
    with scratch_folder("waits") as folder:
        print(folder, flush=True)
        {what}

cli.app.registered_commands[0].callback = lambda: models()
cli.main(["models"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "what",
    [
        "time.sleep(600)",
        "\n        try: time.sleep(600)\n        except BaseException: raise ImportError('odd')",
    ],
)
def test_a_signal_cleans_up(number: int, what: str) -> None:
    process = start(WAITS.format(what=what))
    folder = Path(process.stdout.readline().strip())  # type: ignore[union-attr]
    assert folder.is_dir()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.strip() == "Aborted." and not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_second_can_be_ended_too(number: int) -> None:
    script = """
import builtins, os, time
real = builtins.__import__
def slow(name, *rest, **more):
    if name.endswith("cli"):
        print("importing", flush=True)
        time.sleep(60)
    return real(name, *rest, **more)
from edgeark.__main__ import main
builtins.__import__ = slow
main()
"""
    process = start(script)
    assert process.stdout.readline() == "importing\n"  # type: ignore[union-attr]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and err == "Aborted.\n"


# Faults.


def test_what_nobody_foresaw_is_one_line_and_a_log(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))

    def fail(*_: object) -> None:
        raise ZeroDivisionError("odd\nthings")

    monkeypatch.setattr("edgeark.export.run.is_export", fail)
    done = run("run", "mnist_kpu", "--image", "none.png")
    assert done.status == 2 and done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: ZeroDivisionError: odd things: a fault of edgeark's")
    log = Path(line.rpartition("log: ")[2])
    assert "in fail" in log.read_text()
    with pytest.raises(ZeroDivisionError):
        run("run", "mnist_kpu", "--image", "none.png", "--debug")


def test_a_log_that_cannot_be_written_is_not_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("edgeark.export.run.is_export", lambda _: 1 // 0)
    done = run("run", "mnist_kpu", "--image", "none.png")
    assert done.status == 2 and done.err.count("\n") == 1 and "log:" not in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["targets", "--json"], ["recipes"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str]) -> None:
    script = "from edgeark.__main__ import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and "No space left" in line and "--out" not in line


HALF_A_FILE = """
import sys, time
from pathlib import Path
from edgeark.training.checkpoint import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print(partial, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is held there")
def test_half_a_file_of_a_dead_process_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out" / "r.html"
    dead, alive = (start(HALF_A_FILE, path) for _ in range(2))
    try:
        halves = [Path(process.stdout.readline().strip()) for process in (dead, alive)]  # type: ignore[union-attr]
        dead.kill()
        dead.wait()
        (path.parent / ".r.other.partial.html").symlink_to(halves[1])
        with atomic_path(path) as partial:
            partial.write_text("whole")
        assert path.read_text() == "whole"
        assert [half.exists() for half in halves] == [False, True]
    finally:
        for process in (dead, alive):
            process.kill()
            process.wait()
    with atomic_path(path) as partial:
        partial.write_text("again")
    assert names(path.parent) == [".r.other.partial.html", "r.html"], "links are left alone"
