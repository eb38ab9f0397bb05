"""A worker that lets a toolchain's own worker do many jobs in one process.

Importing a converter takes longer than converting a small network does, and a refusal is no end.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


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
        Path(f"job{index}").mkdir()
        os.chdir(f"job{index}")
        said = {}
        try:
            for function, given, name in steps:
                images = {"images": arrays[name]} if name else {}
                if "settings" in given:  # a target adds what its converter says
                    given["settings"] = {**given["settings"], **said}
                values, outputs = getattr(worker, function)(given, images)
                said.update(values)
                answers.update({f"{index} {name}": value for name, value in outputs.items()})
        except Exception as error:  # noqa: BLE001
            said = {"error": f"{type(error).__name__}: {error}"}
        os.chdir("..")
        tries.append(said)
    return {"tries": tries}, answers
