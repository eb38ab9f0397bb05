"""What a worker process starts with: read the job, call the worker's function, write the result.

This file runs inside the toolchain's environment, under its Python (3.7 or later), so it imports
the standard library and NumPy alone, and nothing of edgeark.

    python -I bootstrap.py WORKER.PY JOB_FOLDER

``JOB_FOLDER`` holds ``job.json`` (``{"function": name, "arguments": {...}}``) and, if there are
arrays, ``inputs.npz``. Where the job says ``confined``, the process first gives up writing outside
``JOB_FOLDER`` and the network, and memory above ``memory_bytes``. The folder receives
``outputs.npz`` and then ``result.json``, which is written last:
a worker that died left none.

With a third argument, ``stay``, the process does a job for each byte on stdin and answers with one
on stdout; what is printed goes to ``log.txt`` in the folder.
"""

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import sys
import traceback


def main() -> None:
    worker_path, folder = sys.argv[1:3]
    die_with_parent(os.getppid())
    if sys.argv[3:]:
        stay(folder, worker_path)
    do_job(folder, lambda: load("worker", worker_path))


def stay(folder, worker_path) -> None:
    """Do one job after another in ``folder``, and end the process when stdin does."""
    answers = os.dup(1)
    log = os.open(os.path.join(folder, "log.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for place in (1, 2):
        os.dup2(log, place)
    signals, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    modules, count = {}, 0

    def load_worker():
        if not modules:
            modules["worker"] = load("worker", worker_path)
        return modules["worker"]

    while os.read(signals, 1):
        work = os.path.join(folder, "work%d" % count)
        os.mkdir(work)
        os.chdir(work)
        with open(os.path.join(folder, "job.json")) as file:
            job = json.load(file)
        if not count:
            _confine(folder, job)
        _answer(folder, job, load_worker)
        if count:  # what was opened for all jobs may lie in the first one's folder
            shutil.rmtree(work, ignore_errors=True)
        count += 1
        os.write(answers, b"\n")
    os._exit(0)


def do_job(folder, load_worker) -> None:
    """Do the job in ``folder`` with the worker that ``load_worker`` gives, and end the process."""
    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    _confine(folder, job)
    _answer(folder, job, load_worker)
    os._exit(0)  # vendors' libraries like to crash while they are unloaded


def _confine(folder, job) -> None:
    """Before anything starts a thread, which would stay free."""
    if job["confined"]:
        here = os.path.dirname(os.path.abspath(__file__))
        load("confine", os.path.join(here, "confine.py")).confine([folder], job["memory_bytes"])


def _answer(folder, job, load_worker) -> None:
    import numpy as np

    arrays_path = os.path.join(folder, "inputs.npz")
    arrays = dict(np.load(arrays_path)) if os.path.exists(arrays_path) else {}
    try:
        worker = load_worker()
        values, outputs = getattr(worker, job["function"])(job["arguments"], arrays)
        np.savez(os.path.join(folder, "outputs.npz"), **outputs)
        result = {"values": values}
    except BaseException as error:  # whatever it is, the parent is told of it
        traceback.print_exc()
        result = {"error": {"type": type(error).__name__, "message": str(error)}}
    partial = os.path.join(folder, "result.json.partial")
    with open(partial, "w") as file:
        json.dump(result, file)
    os.replace(partial, os.path.join(folder, "result.json"))
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # what the C++ part printed last


def load(name, path):
    """The module in a file; what lies beside it can be imported by name."""
    beside = os.path.dirname(os.path.abspath(path))
    if beside not in sys.path:
        sys.path.append(beside)  # last: the environment's own packages come first
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def die_with_parent(parent) -> None:
    """Ask Linux for SIGKILL when the parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent or parent == 1:
            os._exit(1)


if __name__ == "__main__":
    main()
