"""What memory is free, and that jobs wait for it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
from edgeark.export.toolchains import memory
from edgeark.export.toolchains.memory import MemoryGate, available_bytes
from edgeark.export.toolchains.parallel import map_in_order

GIB = 2**30


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc", meminfo=f"MemTotal: {2**25} kB\nMemAvailable: {10 * 2**20} kB")
    write(tmp_path / "proc" / "self", cgroup="0::/box/job")
    return tmp_path / "proc"


def test_what_is_free_is_the_machine_s(proc: Path, tmp_path: Path) -> None:
    assert available_bytes(proc, tmp_path / "none") == 10 * GIB
    assert available_bytes(tmp_path / "none", tmp_path / "none") is None


def test_a_limit_above_the_own_group_counts(proc: Path, tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    write(groups / "box" / "job", memory__max="max", memory__current=GIB)
    assert available_bytes(proc, groups) == 10 * GIB
    stat = f"anon 5\ninactive_file {GIB}"
    write(groups / "box", memory__max=6 * GIB, memory__current=4 * GIB, memory__stat=stat)
    assert available_bytes(proc, groups) == 3 * GIB, "the kernel gives cached files back"
    write(groups / "box", memory__current=9 * GIB)
    assert available_bytes(proc, groups) == 0


def test_a_limit_of_version_1_counts(proc: Path, tmp_path: Path) -> None:
    """In a container the group's path is often that of the machine outside."""
    write(proc / "self", cgroup="5:cpu,memory:/docker/abc\n4:pids:/x")
    write(
        tmp_path / "cgroup" / "memory",
        memory__limit_in_bytes=3 * GIB,
        memory__usage_in_bytes=GIB,
    )
    assert available_bytes(proc, tmp_path / "cgroup") == 2 * GIB


@pytest.mark.parametrize(
    ("free", "width"), [(None, 8), (100 * GIB, 8), (13 * GIB, 3), (GIB, 1), (0, 1)]
)
def test_so_many_jobs_as_have_room(
    free: int | None, width: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert MemoryGate(8, 4 * GIB, lambda: free).width == width
    assert ("--jobs 8" in caplog.text) == (width < 8)


def test_a_job_waits_until_there_is_room_and_one_always_runs() -> None:
    free = [100 * GIB]
    gate, inside, peak = MemoryGate(3, GIB, lambda: free[0]), [], []
    free[0] = 0

    def work() -> None:
        with gate.inside(poll_s=0.01):
            inside.append(1)
            peak.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert peak == [1, 1, 1]


def test_exports_are_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    inside, peak = [], []

    def work(item: int) -> int:
        inside.append(item)
        peak.append(len(inside))
        time.sleep(0.02)
        inside.remove(item)
        return item

    assert map_in_order(work, [1, 2, 3], jobs=3) == [1, 2, 3]
    assert peak == [1, 1, 1]
