"""A process that imports a worker's packages once, and forks a process for each job.

Like ``bootstrap.py`` this file runs inside the toolchain's environment, on Linux alone.

    python -I fork_server.py WORKER.PY

A job is a line of JSON on stdin: its ``folder``, as ``bootstrap.py`` reads it, its ``log`` and its
``environment``.
Two lines on stdout answer: the number of the job's process, which leads a process group, and its
wait status. The server ends when stdin does, that is with the process that started it, and when it
has had nothing to do for a while.

Whatever is imported, the forked process alone opens the job's files, confined where the job says
so. The worker's ``preload(function, arguments)`` imports what a function will need. Where that
leaves a thread behind, the server does the job itself and ends: a fork would lose the thread.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import traceback

_IDLE_S = 120  # a server holds hundreds of megabytes


def main() -> None:
    worker_path = sys.argv[1]
    answers = os.dup(1)
    _say_to(os.devnull)
    awake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    worker = None
    while select.select([0], [], [], _IDLE_S)[0]:
        line = _read_line()
        if not line:
            break
        job = json.loads(line)
        _say_to(job["log"])
        os.chdir(os.path.join(job["folder"], "work"))
        os.environ.clear()
        os.environ.update(job["environment"])
        tempfile.tempdir = None  # it is asked for again
        worker = _preload(worker or worker_path, job["folder"])
        server = os.getpid()
        can_fork = not _has_threads()
        child = os.fork() if can_fork else 0
        if child == 0:
            if can_fork:
                os.setpgid(0, 0)
            else:  # this job is the server's own, and its last
                os.write(answers, b"%d\n" % server)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for place in (awake, waker, *([answers] if can_fork else [])):
                os.close(place)
            _do(worker or worker_path, job["folder"], server if can_fork else os.getppid())
        with contextlib.suppress(OSError):  # whoever of the two comes first
            os.setpgid(child, child)
        os.write(answers, b"%d\n" % child)
        os.write(answers, b"%d\n" % _wait(child, awake))
        os.chdir("/")
        _say_to(os.devnull)


def _has_threads() -> bool:
    """Whether a fork would lose threads, for which libraries would wait for ever.

    OpenBLAS, which NumPy uses, ends its own before every fork: so there is one first.
    """
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return len(os.listdir("/proc/self/task")) > 1


def _do(worker, folder, parent) -> None:
    """The job's process: it ends here."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    BOOTSTRAP.die_with_parent(parent)
    BOOTSTRAP.do_job(
        folder, lambda: BOOTSTRAP.load("worker", worker) if isinstance(worker, str) else worker
    )


def _preload(worker, folder):
    """The worker with what the job's function needs; None where that fails, as the job will."""
    try:
        if isinstance(worker, str):
            worker = BOOTSTRAP.load("worker", worker)
        with open(os.path.join(folder, "job.json")) as file:
            job = json.load(file)
        worker.preload(job["function"], job["arguments"])
        TORCH_EXPORTS.remember_operators()
    except Exception:  # the job meets it again, and tells
        traceback.print_exc()
        return None
    return worker


def _wait(child, awake):
    """The status of the job's process; ends with it when the process that asked is gone."""
    while True:
        ready = select.select([0, awake], [], [])[0]
        if 0 in ready:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os._exit(0)
        os.read(awake, 4096)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status


def _read_line():
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            return b""
        line += part
    return line


def _say_to(path) -> None:
    """What is printed from now on is appended to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    place = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for each in (1, 2):
        os.dup2(place, each)
    os.close(place)


def _load_beside(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    BOOTSTRAP = _load_beside("bootstrap")
    TORCH_EXPORTS = _load_beside("torch_exports")
    main()
