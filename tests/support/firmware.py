"""Generated firmware, built by this machine's compiler with a stand-in of the library."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgeark.export.backends.tflm.firmware import method_of
from edgeark.export.verify import Reopened

from support.edge_post_c import compiler, run_command

STAND_IN = Path(__file__).with_name("tflm_stand_in")
STRICT = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wshadow", "-pedantic", "-Werror"]
_FLOAT32, _INT8 = 1, 9  # TfLiteType


@dataclass(frozen=True)
class Ran:
    """What a program ended with."""

    status: int
    out: str
    err: str


def build(bundle: Path, folder: Path, *options: str) -> Path:
    """The folder with the programs ``main`` and ``golden_main``."""
    folder.mkdir(exist_ok=True)
    gcc, gxx = compiler("gcc", "gcc"), compiler("g++", "g++")
    includes = [f"-I{bundle}", f"-I{bundle}/edge_post", f"-I{STAND_IN}"]
    objects = []
    for source in sorted((bundle / "edge_post").glob("*.c")):
        objects.append(folder / f"{source.stem}.o")
        run_command(gcc, "-std=c99", "-O1", "-c", source, "-o", objects[-1])
    sources = [bundle / f"{name}.cpp" for name in ("network", "answer", "model", "golden")]
    for source in [*sources, bundle / "main.cpp", bundle / "golden_main.cpp"]:
        built = folder / f"{source.stem}.o"
        run_command(gxx, *STRICT, *options, *includes, "-c", source, "-o", built)
        objects += [built] if source in sources else []
    for name in ("main", "golden_main"):
        run_command(gxx, folder / f"{name}.o", *objects, "-o", folder / name, "-lm")
    return folder


def record(found: Reopened, path: Path) -> Path:
    """What the interpreter was given and answered, for the stand-in.

    Inputs are computed here once more, by the formula of the interpreter's worker.
    """
    settings, vectors = found.manifest.settings, found.golden()
    spec, is_int8 = found.manifest.spec, found.manifest.precision == "int8"
    mean, std = (np.float32(v).reshape(1, -1, 1, 1) for v in (spec.mean, spec.std))
    inputs = ((vectors.images - mean) / std).transpose(0, 2, 3, 1)
    answers = [a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for a in vectors.answers]
    if is_int8:
        inputs = _quantized(inputs, settings["input"])
        answers = [_quantized(a, s) for a, s in zip(answers, settings["outputs"], strict=True)]
    inputs = np.ascontiguousarray(inputs)
    in_file = [a for _, a in sorted(zip(settings["output_places"], answers, strict=True))]
    sizes = [a[0].nbytes for a in in_file]
    head = [settings["arena_bytes"], _INT8 if is_int8 else _FLOAT32, inputs[0].nbytes]
    head += [len(inputs), len(settings["operators"]), len(sizes)]
    head += [method_of(name) for name in settings["operators"]]
    lines = [" ".join(map(str, [*head, *sizes])), str(found.artifact.path)]
    content = "".join(f"{line}\n" for line in lines).encode()
    for n, given in enumerate(inputs):
        content += given.tobytes() + b"".join(np.ascontiguousarray(a[n]).tobytes() for a in in_file)
    path.write_bytes(content)
    return path


def run(program: Path, recorded: Path) -> Ran:
    done = subprocess.run(
        [program],
        env={**os.environ, "TFLM_RECORD": str(recorded)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _quantized(values: np.ndarray, scale: dict[str, float]) -> np.ndarray:
    steps = np.round(values / np.float32(scale["scale"])) + scale["zero_point"]
    return np.clip(steps, -128, 127).astype(np.int8)
