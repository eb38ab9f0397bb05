"""Workers that stay: a runtime is started once for many images, whatever happens to it."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.run import open_network
from edgeark.export.toolchains import Toolchain, ToolchainError, call, kept
from edgeark.export.toolchains.confine import can_confine
from edgeark.export.toolchains.kept import KeptWorker, keep_workers
from support.exports import export
from support.local_toolchain import LocalToolchain

WORKER = textwrap.dedent(
    """
    import os, signal, time

    calls = 0

    def run(arguments, arrays):
        global calls
        calls += 1
        print("call", calls, flush=True)
        if arguments.get("raises"):
            raise ValueError("no such image")
        if arguments.get("dies"):
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(arguments.get("seconds", 0))
        if "write" in arguments:
            open(arguments["write"], "w").close()
        left = sorted(os.listdir("."))
        open("litter", "w").close()
        outputs = {key: 2 * value for key, value in arrays.items()}
        return {"calls": calls, "pid": os.getpid(), "left": left}, outputs

    def convert(arguments, arrays):
        return {"calls": calls, "pid": os.getpid()}, {}
    """
)


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    (tmp_path / "worker.py").write_text(WORKER)
    return LocalToolchain("fake", (), tmp_path, "", 0, file=tmp_path / "worker.py")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def run(toolchain: Toolchain, log: Path, **arguments: Any) -> dict[str, Any]:
    return call(toolchain, "run", arguments, log=log, confined=True)[0]


def test_one_process_does_all_jobs_and_ends_with_the_block(toolchain: Toolchain, log: Path) -> None:
    with keep_workers():
        first = run(toolchain, log)
        log.unlink()  # as `verify` does before each
        values, arrays = call(toolchain, "run", {}, {"x": np.arange(3)}, log=log, confined=True)
        assert arrays["x"].tolist() == [0, 2, 4] and log.read_text() == "call 2\n"
        third, none = call(toolchain, "run", {}, log=log, confined=True)
        assert first["pid"] == values["pid"] == third["pid"] and third["calls"] == 3
        assert not none, "arrays of the job before"
        assert first["left"] == values["left"] == third["left"] == []
        assert call(toolchain, "convert", {}, log=log)[0]["pid"] != first["pid"]
        os.kill(first["pid"], 0)
    with pytest.raises(ProcessLookupError):
        os.kill(first["pid"], 0)
    assert run(toolchain, log)["calls"] == 1


def test_what_fails_is_replaced(toolchain: Toolchain, log: Path) -> None:
    with keep_workers():
        first = run(toolchain, log)
        with pytest.raises(ToolchainError, match="ValueError: no such image"):
            run(toolchain, log, raises=True)
        with pytest.raises(ToolchainError, match="died with SIGSEGV"):
            call(toolchain, "run", {"dies": True}, log=log, confined=True)
        after = run(toolchain, log)
        assert after["calls"] == 1 and after["pid"] != first["pid"]
        with pytest.raises(ToolchainError, match="no answer within 1 s"):
            call(toolchain, "run", {"seconds": 60}, log=log, timeout=1, confined=True)
        assert run(toolchain, log)["pid"] != after["pid"]


def test_two_at_a_time_are_two_processes(toolchain: Toolchain, log: Path) -> None:
    with keep_workers(), ThreadPoolExecutor(2) as pool:
        found = [*pool.map(lambda _: run(toolchain, log, seconds=1)["pid"], range(2))]
        again = [*pool.map(lambda _: run(toolchain, log)["pid"], range(4))]
    assert len(set(found)) == 2 and set(again) <= set(found)


@pytest.mark.skipif(not can_confine(), reason="this machine confines nothing")
def test_it_is_confined(toolchain: Toolchain, log: Path, tmp_path: Path) -> None:
    with keep_workers():
        run(toolchain, log)
        with pytest.raises(ToolchainError, match="PermissionError"):
            run(toolchain, log, write=str(tmp_path / "mine"))
    assert not (tmp_path / "mine").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_it_dies_with_whoever_started_it(toolchain: Toolchain, log: Path) -> None:
    child = os.fork()
    if child == 0:
        with keep_workers():
            (log.parent / "pid").write_text(str(run(toolchain, log)["pid"]))
            time.sleep(60)
    deadline = time.monotonic() + 60
    while not ((log.parent / "pid").exists() and (log.parent / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int((log.parent / "pid").read_text())
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_export_is_opened_once_for_all_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Counted(KeptWorker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            started.append(self.process.pid)

    monkeypatch.setattr(kept, "KeptWorker", Counted)
    _, folder = export("mobilenet_v1_025", tmp_path, num_classes=12)
    images = np.random.default_rng(0).integers(0, 256, (20, 40, 50, 3), np.uint8)
    with open_network(str(folder)) as network:
        found = [answer.outputs for answer in network.answers(images)]
        live = [answer.outputs for answer in network.answers(images[:3], live=True)]
    assert len(found) == 20 and len(started) == 1
    for one, other in zip(live, found, strict=False):
        np.testing.assert_array_equal(one[0], other[0])
