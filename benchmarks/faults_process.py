"""A command of edgeark's in a forked process, with limits; for ``faults.py``."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS, MOST_KB = 300, 4 * 2**20  # on a busy machine


@dataclass(frozen=True)
class End:
    status: int  # negative: by this signal
    words: str
    kilobytes: int
    was_ended: bool  # its time was over


def import_all() -> None:
    """What the commands need, once. Nothing of it runs here: threads do not survive a fork."""
    import edgeark.cli
    import edgeark.export.conformance
    import edgeark.export.kpu
    import edgeark.export.pipeline
    import edgeark.export.report  # noqa: F401
    import torch  # noqa: F401


def call_forked(function: Callable[[], object]) -> None:
    """Call a function in a child of this process.

    Raises:
        RuntimeError: it has raised.
    """
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (nobody else is told)
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError("the good inputs could not be made")


def run_forked(
    arguments: list[str],
    folder: Path,
    *,
    seconds: float = SECONDS,
    ends_by: signal.Signals = signal.SIGKILL,
    disk_bytes: int | None = None,
) -> End:
    """A command in a child of this process, which has imported everything already.

    Args:
        arguments: its words; the first ones may be ``NAME=VALUE``, of its environment.
        folder: where it works; what it prints goes into ``log.txt``.
        seconds: after which it is ended.
        ends_by: the signal that does so.
        disk_bytes: how long a file can get; None: as long as it will.
    """
    log = folder / "log.txt"
    pid = os.fork()
    if pid == 0:
        _become(arguments, log, folder, disk_bytes)
    end, was_ended = time.monotonic() + seconds, False
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end and not was_ended:
            was_ended = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, ends_by)
        time.sleep(0.02)
    words = log.read_text(errors="replace") if log.exists() else ""
    return End(os.waitstatus_to_exitcode(status), words, usage.ru_maxrss, was_ended)


def _become(arguments: list[str], log: Path, folder: Path, disk_bytes: int | None) -> None:
    os.setsid()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if disk_bytes is not None:  # files cannot grow beyond: what a full disk is to one file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk_bytes, disk_bytes))
    status = 70
    try:
        from edgeark.cli import main

        while "=" in arguments[0]:
            name, _, value = arguments.pop(0).partition("=")
            os.environ[name] = value
        main(arguments)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except BaseException as error:  # noqa: BLE001 (nobody else is told)
        sys.excepthook(type(error), error, error.__traceback__)  # as Python itself would
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
