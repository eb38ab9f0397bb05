"""How much memory is free for this process: the machine's, or less in a container with a limit."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

JOB_BYTES = 4 * 2**30  # of one conversion of a large network with its run; most take half of that
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Limit, use, and in memory.stat what of that use the kernel gives back: cgroups of version 2 and 1.
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """What can be had now without swapping; None where the system does not say (it is no Linux).

    The least of ``MemAvailable`` and of what the limits of this process's control groups, and of
    those above them, leave.

    Args:
        proc: where the process's facts are.
        cgroups: where control groups are mounted.
    """
    found = [_machine(proc), *(_left(*each) for each in _groups(proc, cgroups))]
    known = [each for each in found if each is not None]
    return min(known, default=None)


def _machine(proc: Path) -> int | None:
    match = re.search(r"^MemAvailable: *(\d+) kB", _read(proc / "meminfo"), re.MULTILINE)
    return int(match.group(1)) * 2**10 if match else None


def _groups(proc: Path, cgroups: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The folders of this process's groups, and how their files are called."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        roots = [cgroups / "memory"] if controllers else [cgroups, cgroups / "unified"]
        for root in roots:
            place = root / path.lstrip("/")
            for folder in (place, *place.parents):
                if folder.is_relative_to(root):
                    yield folder, _VERSION_1 if controllers else _VERSION_2


def _left(folder: Path, names: tuple[str, str, str]) -> int | None:
    """What a group's limit leaves; None where it has none."""
    limit, used, reclaimable = names
    try:
        most, now = int(_read(folder / limit)), int(_read(folder / used))
    except ValueError:  # "max", or no such file
        return None
    match = re.search(rf"^{reclaimable} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
    return max(0, most - now + (int(match.group(1)) if match else 0))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class MemoryGate:
    """Lets as many jobs in as have room, and always one.

    A job that has begun takes its memory later, so what is free at first is shared out; and the
    next one waits as long as less than a job's share is free by then.

    Args:
        jobs: at most so many.
        job_bytes: what each may take.
        available: what is free; by default :func:`available_bytes`.
    """

    def __init__(
        self,
        jobs: int,
        job_bytes: int = JOB_BYTES,
        available: Callable[[], int | None] | None = None,
    ) -> None:
        self._job_bytes, self._available = job_bytes, available or available_bytes
        free = self._available()
        self.width = jobs if free is None else max(1, min(jobs, free // job_bytes))
        if free is not None and self.width < jobs:
            logger.warning(
                "--jobs %d: %d at a time, since each may take %.0f GiB and %.1f GiB are free",
                *(jobs, self.width, job_bytes / 2**30, free / 2**30),
            )
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def inside(self, poll_s: float = 2.0) -> Iterator[None]:
        """Wait until there is room, and take it until the block ends."""
        with self._changed:
            while not self._has_room():
                self._changed.wait(poll_s)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _has_room(self) -> bool:
        if self._running == 0:
            return True
        free = self._available()
        return self._running < self.width and (free is None or free >= self._job_bytes)
