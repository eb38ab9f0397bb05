"""A worker that lets a toolchain's own worker do many jobs.

Importing a converter takes longer than converting a small network does, and a refusal is no end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np


def preload(function, arguments):
    """What the toolchain's own worker preloads to convert."""
    (first, given, _), *_ = arguments["jobs"][0]
    _load(arguments["worker"]).preload(first, given)


def _load(path):
    sys.path.append(str(Path(path).parent))  # as the bootstrap does, for what lies beside it
    spec = importlib.util.spec_from_file_location("worker", path)
    assert spec and spec.loader
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    return worker


def try_each(arguments, arrays):
    """Each job's steps are ``[function, arguments, array]``: the name of its images, or ''.

    The value ``tries`` holds a dictionary for each job: the values of its steps, or ``error``. What
    a step of job 3 answers in ``output0`` is the array ``3 output0``. ``without`` names functions
    of the worker that are to return what they are given. Where ``forks`` is true, each job has a
    process of its own, which may die.
    """
    worker = _load(arguments["worker"])
    for name in arguments["without"]:
        assert hasattr(worker, name)
        setattr(worker, name, lambda given: given)
    do = _in_a_fork if arguments.get("forks") else _here
    tries, answers = [], {}
    for index, steps in enumerate(arguments["jobs"]):
        folder = Path(f"job{index}").absolute()
        folder.mkdir()
        said, outputs = do(worker, steps, arrays, folder)
        tries.append(said)
        answers.update({f"{index} {name}": value for name, value in outputs.items()})
    return {"tries": tries}, answers


def _here(worker, steps, arrays, folder):
    back = Path.cwd()
    os.chdir(folder)
    said, answers = {}, {}
    try:
        for function, given, name in steps:
            images = {"images": arrays[name]} if name else {}
            if "settings" in given:  # a target adds what its converter says
                given["settings"] = {**given["settings"], **said}
            values, outputs = getattr(worker, function)(given, images)
            said.update(values)
            answers.update(outputs)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        said = {"error": f"{type(error).__name__}: {error}"}
    os.chdir(back)
    return said, answers


def _in_a_fork(worker, steps, arrays, folder):
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        said, answers = _here(worker, steps, arrays, folder)
        np.savez(folder / "answers.npz", **answers)
        (folder / "said.json").write_text(json.dumps(said))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # vendors' libraries like to crash while they are unloaded
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        return {"error": f"the process died with {how}"}, {}
    with np.load(folder / "answers.npz") as file:
        return json.loads((folder / "said.json").read_text()), dict(file)
