"""A stand-in for PPLNN's program, for tests: ONNX Runtime behind ``pplnn``'s command line.

Options, file names and messages are those of ``tools/pplnn.cc`` of OpenPPL/ppl.nn; like there, what
is not known is an error. It keeps its arguments in ``$PPLNN_CALLS`` and, told to, fails.

    python pplnn_double.py --use-x86 --onnx-model a.onnx --reshaped-inputs NAME-DIMS-TYPE.dat ...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FLAGS = {"--use-x86", "--save-outputs", "--save-inputs", "--enable-profiling", "--no-run"}
VALUES = {
    *("--onnx-model", "--reshaped-inputs", "--inputs", "--in-shapes", "--save-data-dir"),
    *("--mm-policy", "--num-threads", "--warmup-iterations", "--min-profiling-iterations"),
    "--min-profiling-seconds",
}
TYPES = {"fp64": np.float64, "fp32": np.float32, "int64": np.int64}


def main(arguments: list[str]) -> int:
    with Path(os.environ["PPLNN_CALLS"]).open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    if os.environ.get("PPLNN_FAIL"):
        sys.stderr.write("[ERROR] unsupported case\n")
        return 255
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if name not in FLAGS | VALUES:
            sys.stderr.write(f"[ERROR] unknown option(s): '{name}'.\n")
            return 255
        given[name] = rest.pop(0) if name in VALUES else ""
    session = onnxruntime.InferenceSession(
        given["--onnx-model"], providers=["CPUExecutionProvider"]
    )
    path = given["--reshaped-inputs"]
    name, dims, kind = Path(path).name.split("-")  # any other dash is an error there too
    x = np.fromfile(path, TYPES[kind.split(".")[0]]).reshape([int(n) for n in dims.split("_")])
    outputs = session.run(None, {name: x})
    sys.stdout.write("[INFO] Run() costs: 9.5 ms.\n")
    folder = Path(given.get("--save-data-dir", "."))
    if "--save-outputs" in given:
        for value, output in zip(session.get_outputs(), outputs, strict=True):
            output.tofile(folder / f"pplnn_output-{value.name}.dat")
    if "--enable-profiling" in given:
        sys.stdout.write("[INFO] Average run costs: 0.75 ms.\n")
    return 0


def install(folder: Path) -> Path:
    """An executable that runs this file; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "pplnn"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
