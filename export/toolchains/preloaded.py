"""Jobs in processes whose packages are imported already: ``fork_server.py`` keeps them.

Importing a converter takes longer than converting a small network: ExecuTorch's with PyTorch is 6.6
seconds of a CPU. An export of two precisions calls it four times and more.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SERVER = Path(__file__).resolve().parent / "fork_server.py"
_MOST_IDLE = 2  # each holds hundreds of megabytes

Key = tuple[object, ...]


@dataclass(frozen=True)
class Job:
    """What is to be done: ``folder`` is as ``bootstrap.py`` reads it.

    Everything that the process prints is appended to ``log``.
    """

    folder: Path
    log: Path
    environment: dict[str, str]


class _Server:
    """One process; one job at a time."""

    def __init__(self, key: Key, python: Path, worker: Path, job: Job) -> None:
        self.key = key
        self.child = 0
        self.is_killed = self.is_used = False
        with job.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(python), "-I", str(_SERVER), str(worker)],
                cwd="/",
                env=job.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
                start_new_session=True,
            )

    def run(self, job: Job, timeout: float) -> int | None:
        """The exit code of a job's process, or of the server's; None when the time was up.

        Raises:
            BrokenPipeError: the server, which has done jobs, has ended since.
        """
        assert self.process.stdin is not None
        request = {
            **{"folder": str(job.folder.resolve()), "log": str(job.log.resolve())},
            "environment": job.environment,
        }
        end = time.monotonic() + timeout
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        try:
            self.child = self._read_number(end)
            return os.waitstatus_to_exitcode(self._read_number(end))
        except TimeoutError:
            self.kill()
            return None
        except EOFError:
            code = self.process.wait()
            if self.is_used and not self.child and not self.is_killed:
                raise BrokenPipeError from None
            return code
        finally:
            if self.child:  # the job's own children
                _kill_group(self.child)
            self.child, self.is_used = 0, True

    def _read_number(self, end: float) -> int:
        assert self.process.stdout is not None
        waiting = select.poll()
        waiting.register(self.process.stdout, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            left = max(0, end - time.monotonic())
            if not waiting.poll(1000 * left):
                raise TimeoutError
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise EOFError
            line += byte
        return int(line)

    def is_alive(self) -> bool:
        return not self.is_killed and self.process.poll() is None

    def kill(self) -> None:
        """With the job that it does; who waits for that sees it die."""
        self.is_killed = True
        if self.child:
            _kill_group(self.child)
        _kill_group(self.process.pid)

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


_lock = threading.Lock()
_idle: list[_Server] = []  # the last used one last
_busy: set[_Server] = set()


def can_preload() -> bool:
    """Elsewhere than on Linux a fork without exec is not safe, or there is none."""
    return sys.platform == "linux"


def run_preloaded(python: Path, worker: Path, job: Job, timeout: float) -> int | None:
    """Do a job in a process forked from one that has imported what the worker needs.

    Args:
        python: the toolchain's.
        worker: its file, which has a function ``preload``.
        job: with the environment of the process; what packages read of it when they are imported
            is that of the first job.
        timeout: seconds after which it and its children are killed.

    Returns:
        Its exit code, negative for a signal; None when the time was up.
    """
    key = (python, worker, worker.stat().st_mtime_ns)
    while True:
        server = _take(key) or _Server(key, python, worker, job)
        with _lock:
            _busy.add(server)
        try:
            return server.run(job, timeout)
        except BrokenPipeError:
            server.kill()
        except BaseException:
            server.kill()
            raise
        finally:
            with _lock:
                _busy.discard(server)
            _give_back(server)


def kill_preloaded() -> None:
    """Kill every job of this process that runs now."""
    with _lock:
        servers = tuple(_busy)
    for server in servers:
        server.kill()


def _take(key: Key) -> _Server | None:
    with _lock:
        for server in reversed(_idle):
            if server.key == key and server.is_alive():
                _idle.remove(server)
                return server
    return None


def _give_back(server: _Server) -> None:
    with _lock:
        if server.is_alive():
            _idle.append(server)
            ended = _idle[:-_MOST_IDLE]
            del _idle[:-_MOST_IDLE]
        else:
            ended = [server]
    for each in ended:
        each.end()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@atexit.register
def _end_all() -> None:
    with _lock:
        ended = list(_idle)
        _idle.clear()
    for server in ended:
        server.end()
