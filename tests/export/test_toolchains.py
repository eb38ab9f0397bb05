"""Toolchain isolation: whatever a worker does, the caller sees a result or one ToolchainError."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.toolchains import (
    Hint,
    Toolchain,
    ToolchainError,
    ToolchainUnavailable,
    call,
    manage,
)
from edgeark.export.toolchains import environment as env
from edgeark.export.toolchains.preloaded import can_preload
from support.local_toolchain import LocalToolchain

WORKER = textwrap.dedent(
    """
    import os, signal, subprocess, sys, threading, time

    loads = 0

    def preload(function, arguments):
        global loads
        loads += 1
        if function == "threaded":
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        if function == "unloadable":
            raise ImportError("libGL.so is missing")

    def which(arguments, arrays):
        return {"loads": loads, "parent": os.getppid(), "set": os.environ.get("SET")}, {}

    threaded = unloadable = which

    def double(arguments, arrays):
        print("words of the vendor")
        return {"said": arguments["say"], "cwd": os.getcwd()}, {"y": arrays["x"] * 2}

    def throws(arguments, arrays):
        raise ValueError("unsupported op Foo\\nand a long explanation")

    def crash(arguments, arrays):
        os.kill(os.getpid(), getattr(signal, arguments["signal"]))

    def aborts(arguments, arrays):
        print("E RKNN: unsupported conv", flush=True)
        os.abort()

    def leaves(arguments, arrays):
        os._exit(3)

    def quits(arguments, arrays):
        sys.exit(1)

    def sleeps(arguments, arrays):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with open(arguments["pid"], "w") as file:
            file.write(str(child.pid))
        time.sleep(60)

    def pauses(arguments, arrays):
        with open(arguments["pid"], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(60)

    def hinted(arguments, arrays):
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    def litters(arguments, arrays):
        open("check0_base_optimize.onnx", "w").close()
        return {"environment": dict(os.environ), "path": sys.path}, {}
    """
)


@pytest.fixture(params=[False, True], ids=["own", "forked"])
def toolchain(tmp_path: Path, request: pytest.FixtureRequest) -> Toolchain:
    return local_toolchain(tmp_path, request.param)


@pytest.fixture
def preloading(tmp_path: Path) -> Toolchain:
    if not can_preload():
        pytest.skip("a fork without exec is safe on Linux alone")
    return local_toolchain(tmp_path, True)


def local_toolchain(folder: Path, preloads: bool) -> Toolchain:
    path = folder / "worker.py"
    path.write_text(WORKER)
    hints = (
        Hint(r"No module named 'pkg_resources'", "setuptools >= 81"),
        Hint(r"died with SIGSEGV", "fix of a crash"),
        Hint(r"unsupported conv", "fix of a convolution"),
    )
    return LocalToolchain("fake", (), folder, ">=3.10", 0, hints, preloads=preloads, file=path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def test_values_and_arrays_come_back(toolchain: Toolchain, log: Path) -> None:
    values, arrays = call(toolchain, "double", {"say": "hi"}, {"x": np.arange(3)}, log=log)
    assert values["said"] == "hi"
    assert arrays["y"].tolist() == [0, 2, 4]
    assert "words of the vendor" in log.read_text()
    assert not Path(values["cwd"]).exists()


@pytest.mark.parametrize(
    ("function", "arguments", "cause"),
    [
        ("throws", {}, "ValueError: unsupported op Foo;"),
        ("crash", {"signal": "SIGSEGV"}, r"the process died with SIGSEGV \(fix of a crash\)"),
        ("crash", {"signal": "SIGABRT"}, "the process died with SIGABRT"),
        ("aborts", {}, r"SIGABRT after saying: E RKNN: .* \(fix of a convolution\)"),
        ("leaves", {}, "the process ended with status 3 and no result"),
        ("quits", {}, "SystemExit: 1"),
        ("missing", {}, "AttributeError"),
        ("hinted", {}, r"\(setuptools >= 81\)"),
    ],
)
def test_every_death_is_one_error(
    toolchain: Toolchain, log: Path, function: str, arguments: dict, cause: str
) -> None:
    with pytest.raises(ToolchainError, match=cause) as caught:
        call(toolchain, function, arguments, log=log)
    assert str(caught.value).startswith(f"fake: {function} failed: ")
    assert "\n" not in str(caught.value)
    assert (caught.value.stage, caught.value.log) == (function, log)


def test_a_time_out_kills_the_worker_and_its_children(
    toolchain: Toolchain, log: Path, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ToolchainError, match="no answer within 3 s"):
        call(toolchain, "sleeps", {"pid": str(pid_file)}, log=log, timeout=3)
    assert _gone(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_killed_parent_leaves_no_worker(toolchain: Toolchain, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from edgeark.export.toolchains import Toolchain, process
        Toolchain.ensure = lambda self: Path(sys.executable)
        fake = Toolchain("fake", (), Path({str(tmp_path)!r}), "", 0, preloads={toolchain.preloads})
        process.call(fake, "pauses", {{"pid": {str(pid_file)!r}}}, log=fake.home / "log.txt")
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    worker = int(pid_file.read_text())
    try:
        assert _gone(worker)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def test_packages_are_imported_once_for_many_calls(
    preloading: Toolchain, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a job does to its process, the next one has another with its own environment."""
    first, _ = call(preloading, "which", {}, log=log)
    with pytest.raises(ToolchainError, match="SIGSEGV"):
        call(preloading, "crash", {"signal": "SIGSEGV"}, log=log)
    monkeypatch.setenv("SET", "now")
    second, _ = call(preloading, "which", {}, log=log)
    assert (first["loads"], second["loads"]) == (1, 3)
    assert first["parent"] == second["parent"] != os.getpid()
    assert (first["set"], second["set"]) == (None, "now")


def test_a_server_with_threads_does_its_job_and_ends(preloading: Toolchain, log: Path) -> None:
    """A fork would lose the threads, and whoever waits for one waits for ever."""
    for _ in range(2):
        values, _ = call(preloading, "threaded", {}, log=log, timeout=60)
        assert (values["loads"], values["parent"]) == (1, os.getpid())


def test_a_server_that_is_gone_is_started_again(preloading: Toolchain, log: Path) -> None:
    before, _ = call(preloading, "which", {}, log=log)
    os.kill(before["parent"], signal.SIGKILL)
    after, _ = call(preloading, "which", {}, log=log)
    assert after["parent"] != before["parent"]


def test_what_cannot_be_preloaded_is_left_to_the_job(preloading: Toolchain, log: Path) -> None:
    assert call(preloading, "unloadable", {}, log=log)[0]["loads"] == 0
    assert "libGL.so is missing" in log.read_text()


def test_changed_code_is_loaded_again(preloading: Toolchain, log: Path) -> None:
    before, _ = call(preloading, "which", {}, log=log)
    os.utime(preloading.worker, (1, 1))
    assert call(preloading, "which", {}, log=log)[0]["parent"] != before["parent"]


def test_the_worker_sees_no_other_python(
    toolchain: Toolchain, log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    monkeypatch.setenv("VIRTUAL_ENV", "/other")
    monkeypatch.chdir(tmp_path)
    values, _ = call(toolchain, "litters", {}, log=log)
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & values["environment"].keys()
    assert str(tmp_path / "other") not in values["path"]
    assert not (tmp_path / "check0_base_optimize.onnx").exists()


# The environments themselves, made by uv from a package that is tiny and pure Python.


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.txt").write_text("")
    return Toolchain("small", (), tmp_path, ">=3.10", 1)


def test_an_environment_is_made_once(small: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not small.is_installed()
    python = small.ensure()
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    assert python.exists() and small.is_installed()
    stamp = (small.folder() / "pyvenv.cfg").stat().st_mtime_ns
    assert small.ensure() == python
    assert (small.folder() / "pyvenv.cfg").stat().st_mtime_ns == stamp


def test_a_changed_requirement_makes_a_new_environment(small: Toolchain) -> None:
    before = small.folder()
    small.requirements.write_text("# changed\n")
    assert small.folder() != before


def test_installing_replaces_the_environment_of_earlier_requirements(small: Toolchain) -> None:
    old = small.ensure().parents[1]
    small.requirements.write_text("# changed\n")
    assert (manage.environments(small), small.is_installed()) == ([old], False)
    said: list[str] = []
    manage.install([small], said.append)
    assert manage.environments(small) == [small.folder()] and small.is_installed()
    assert said == ["small: about 1 MB"]


def test_removing_frees_what_it_took(small: Toolchain) -> None:
    neighbour = small.folder().parent / "small-er-0123456789ab"
    (neighbour / "bin").mkdir(parents=True)
    small.ensure()
    (small.folder() / "weights").write_bytes(bytes(5_000_000))
    assert manage.disk_bytes(small) > 5_000_000
    assert manage.remove(small) > 5_000_000
    assert not small.is_installed() and neighbour.is_dir()
    assert (manage.environments(small), manage.remove(small)) == ([], 0)


def test_offline_never_installs(small: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    with pytest.raises(ToolchainUnavailable, match="not installed and --offline forbids"):
        small.ensure()
    assert not small.folder().exists()


def test_a_failed_installation_leaves_nothing(small: Toolchain) -> None:
    small.requirements.write_text("nonsense==1 --hash=sha256:zz\n")
    with pytest.raises(ToolchainError, match="installing small failed") as caught:
        small.ensure()
    assert not small.folder().exists()
    assert caught.value.log is not None and caught.value.log.exists()


def test_packages_are_mended_once_all_is_installed(small: Toolchain, tmp_path: Path) -> None:
    """By a script that sees the environment; where it gives up, nothing is installed."""
    mending = replace(small, setup_file="mend.py")
    script = tmp_path / "mend.py"
    script.write_text("import sys\nsys.exit('libtinfo is missing')\n")
    with pytest.raises(ToolchainError, match="small failed: libtinfo"):
        mending.ensure()
    assert not mending.folder().exists()
    script.write_text("import pathlib, sys\n(pathlib.Path(sys.prefix) / 'mended').touch()\n")
    assert (mending.ensure().parents[1] / "mended").exists()
    before = mending.folder()
    script.write_text("pass\n")
    assert mending.folder() != before != small.folder()


def test_an_interrupted_installation_is_begun_again(small: Toolchain) -> None:
    small.folder().mkdir(parents=True)
    (small.folder() / "half").touch()
    small.ensure()
    assert not (small.folder() / "half").exists()


def test_two_installations_started_together_both_succeed(small: Toolchain, tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from edgeark.export.toolchains import environment as env
        home = Path({str(tmp_path)!r})
        print(env.Toolchain("small", (), home, ">=3.10", 1).ensure())
        """
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1] and Path(answers[0]).exists()


def test_a_toolchain_for_other_machines_is_unavailable(small: Toolchain) -> None:
    """A real one: this package's only wheels are for Windows."""
    digest = "0" * 64
    small.requirements.write_text(f"pywin32==311 --hash=sha256:{digest}\n")
    with pytest.raises(ToolchainUnavailable, match="small is not made for this machine"):
        small.ensure()


def test_no_python_for_it_is_unavailable(small: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    ancient = Toolchain("small", (), small.home, ">=3.0,<3.1", 1)
    with pytest.raises(ToolchainUnavailable, match=r"needs Python >=3\.0,<3\.1; none is here"):
        ancient.ensure()
    assert not ancient.folder().exists()


def test_this_python_is_preferred() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = env.find_python(f"=={here}.*")
    assert found is not None
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    said = subprocess.run([found, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == here


@pytest.mark.skipif(shutil.which("pyenv") is None, reason="no pyenv on this machine")
def test_pythons_under_pyenv_are_found() -> None:
    assert env._pyenv_versions()


def _gone(pid: int, patience: float = 10) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True
        time.sleep(0.05)
    return False


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
