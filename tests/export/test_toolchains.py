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
from dataclasses import dataclass, field
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

WORKER = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time

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

    def hinted(arguments, arrays):
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    def litters(arguments, arrays):
        open("check0_base_optimize.onnx", "w").close()
        return {"environment": dict(os.environ), "path": sys.path}, {}
    """
)


@dataclass(frozen=True)
class LocalToolchain(Toolchain):
    """A toolchain whose environment is this one."""

    file: Path = field(default=Path())

    @property
    def worker(self) -> Path:
        return self.file

    def ensure(self) -> Path:
        return Path(sys.executable)


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    hints = (
        Hint(r"No module named 'pkg_resources'", "setuptools >= 81"),
        Hint(r"died with SIGSEGV", "fix of a crash"),
        Hint(r"unsupported conv", "fix of a convolution"),
    )
    return LocalToolchain("fake", (), tmp_path, ">=3.10", 0, hints, file=path)


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
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import subprocess, sys
            from pathlib import Path
            bootstrap = {str(Path(env.__file__).with_name("bootstrap.py"))!r}
            folder = Path({str(tmp_path)!r})
            (folder / "job.json").write_text(
                '{{"function": "sleeps", "arguments": {{"pid": "{pid_file}"}}}}')
            worker = subprocess.Popen(
                [sys.executable, bootstrap, {str(toolchain.worker)!r}, str(folder)],
                start_new_session=True)
            print(worker.pid, flush=True)
            worker.wait()
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    deadline = time.monotonic() + 30
    while not pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    try:
        assert _gone(worker)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)


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
