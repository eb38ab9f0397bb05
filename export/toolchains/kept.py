"""Workers that stay between calls: a runtime is started once for a folder of images or a video."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...core.scratch import scratch_folder

Key = tuple[object, ...]
_LOG = "log.txt"


class KeptWorker:
    """A process of ``bootstrap.py`` that does one job after another in ``folder``."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._read = 0  # of its log
        self.process = subprocess.Popen(
            [*command, str(folder), "stay"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def run(self, log: Path, timeout: float) -> int | None:
        """Do the job in ``folder``; 0, or the exit code of the process; None: the time was up.

        What the job prints is appended to ``log``.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        end = time.monotonic() + timeout
        try:
            with suppress(BrokenPipeError):  # it has died, and says how
                self.process.stdin.write(b"\n")
            left = max(0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                return None
            return 0 if self.process.stdout.read(1) else self.process.wait()
        finally:
            self._append_to(log)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """With all that it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _append_to(self, log: Path) -> None:
        with suppress(FileNotFoundError), (self.folder / _LOG).open("rb") as file:
            file.seek(self._read)
            words = file.read()
            self._read += len(words)
            with log.open("ab") as output:
                output.write(words)


class _Pool:
    def __init__(self, folders: ExitStack) -> None:
        self.folders = folders
        self.idle: list[tuple[Key, KeptWorker]] = []
        self.all: set[KeptWorker] = set()


_lock = threading.Lock()
_pools: list[_Pool] = []


@contextmanager
def keep_workers() -> Iterator[None]:
    """Inside, a worker that runs an artifact stays for the next call; all end with the block."""
    with ExitStack() as folders:
        pool = _Pool(folders)
        _pools.append(pool)
        try:
            yield
        finally:
            _pools.remove(pool)
            for worker in pool.all:
                worker.kill()


def are_kept() -> bool:
    """Whether this is inside :func:`keep_workers`."""
    return bool(_pools)


@contextmanager
def borrow(key: Key, command: list[str], environment: dict[str, str]) -> Iterator[KeptWorker]:
    """A worker that nobody else uses; after an error it does not stay.

    Args:
        key: of what can do the same jobs.
        command: what starts one, but for the folder.
        environment: of a new process; its scratch folder holds temporary files.
    """
    pool = _pools[-1]
    with _lock:
        place = next((i for i, (known, _) in enumerate(pool.idle) if known == key), None)
        worker = None if place is None else pool.idle.pop(place)[1]
    if worker is None:
        folder = Path(pool.folders.enter_context(scratch_folder("kept")))
        (folder / "tmp").mkdir()
        worker = KeptWorker(command, folder, {**environment, "TMPDIR": str(folder / "tmp")})
        with _lock:
            pool.all.add(worker)
    try:
        yield worker
    except BaseException:
        worker.kill()
        raise
    with _lock:
        pool.idle.append((key, worker))


def kill_kept() -> None:
    """Kill every one of this process; who waits for one sees it die."""
    with _lock:
        workers = [worker for pool in _pools for worker in pool.all]
    for worker in workers:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.process.pid, signal.SIGKILL)
