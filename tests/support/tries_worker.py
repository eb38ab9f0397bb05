"""A worker that lets a toolchain's own worker do many jobs, each in a fork of the process.

Importing a converter takes longer than converting a small network does, and neither a refusal nor
a death is the end of the other jobs.
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


def try_each(arguments, arrays):
    """Each job's steps are ``[function, arguments, array]``: the name of its images, or ''.

    The value ``tries`` holds a dictionary for each job: the values of its steps, or ``error``. What
    a step of job 3 answers in ``output0`` is the array ``3 output0``. ``without`` names functions
    of the worker that are to return what they are given.
    """
    spec = importlib.util.spec_from_file_location("worker", arguments["worker"])
    assert spec and spec.loader
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    for name in arguments["without"]:
        assert hasattr(worker, name)
        setattr(worker, name, lambda given: given)
    tries, answers = [], {}
    for index, steps in enumerate(arguments["jobs"]):
        folder = Path(f"job{index}").absolute()
        folder.mkdir()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _do(worker, steps, arrays, folder)
        died_of = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if died_of:
            name = signal.Signals(-died_of).name if died_of < 0 else f"status {died_of}"
            tries.append({"error": f"the process died with {name}"})
            continue
        tries.append(json.loads((folder / "said.json").read_text()))
        with np.load(folder / "answers.npz") as file:
            answers.update({f"{index} {name}": file[name] for name in file.files})
    return {"tries": tries}, answers


def _do(worker, steps, arrays, folder):
    """The steps of a job, in a process that ends here; what was said goes into files."""
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
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        said = {"error": f"{type(error).__name__}: {error}"}
    np.savez("answers.npz", **answers)
    Path("said.json").write_text(json.dumps(said))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
