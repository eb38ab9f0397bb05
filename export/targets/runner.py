"""What runs a network elsewhere and compares it with PyTorch: a script and a README.

The same script serves whoever has the runtime, and edgeark where it finds one: it reads raw
images from an .npz file and writes the network's outputs to another.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.scratch import scratch_folder
from ...zoo.spec import ModelSpec
from ..graph.files import INPUT_NAME
from ..toolchains.process import TIMEOUT_S, run_command
from .base import RunResult
from .own_script import require_own_script
from .templates import open_templates
from .untrusted import UNTRUSTED_BYTES

README = "README.md"
_TEMPLATES = Path(__file__).parent / "runner_templates"


def write_runner(
    folder: Path,
    kind: str,
    name: str,
    spec: ModelSpec,
    outputs: Sequence[tuple[str, Sequence[int]]],
    **values: object,
) -> tuple[str, ...]:
    """Write ``run_<kind>.py`` and its README; their names.

    Args:
        folder: it exists; the network, ``model.onnx``, is put there by others.
        kind: of the runtime: ``pplnn`` or ``tensorrt``.
        name: the network's.
        spec: how it is model_input.
        outputs: name and shape, without the batch, of each output, in the network's order.
        **values: what else the templates of that kind name.
    """
    values |= {
        **{"name": name, "shape": spec.input_shape, "mean": spec.mean, "std": spec.std},
        **{"color": spec.color, "license": spec.license},
        "outputs": [(output, tuple(shape)) for output, shape in outputs],
    }
    for file, template in ((script_of(kind), script_of(kind)), (README, f"{kind}.md")):
        (folder / file).write_text(_render(template, values), encoding="utf-8")
    return script_of(kind), README


def _render(template: str, values: Mapping[str, object]) -> str:
    templates = open_templates(_TEMPLATES)
    return templates.get_template(f"{template}.jinja").render({**values, "input": INPUT_NAME})


def require_own_runner(folder: Path, kind: str) -> None:
    """Refuse a script that :func:`write_runner` did not write.

    Raises:
        EdgearkError: it is another program.
    """
    constants = {"name": "", "shape": (1, 1), "mean": (0.0,), "std": (1.0,), "outputs": []}
    require_own_script(folder / script_of(kind), [_render(script_of(kind), constants)])


def script_of(kind: str) -> str:
    """The script's name."""
    return f"run_{kind}.py"


def call_runner(
    folder: Path,
    kind: str,
    images: np.ndarray,
    options: Sequence[str],
    *,
    log: Path,
    python: Path | None = None,
    with_gpu: bool = False,
    confined: bool = False,
) -> RunResult:
    """Run the script on raw images, in a copy of the folder, as its user would.

    Python imports nothing that lies beside the script.

    Args:
        folder: where :func:`write_runner` wrote it.
        kind: as there.
        images: uint8 ``[N, C, H, W]``.
        options: further ones of the script.
        log: the file to which everything that it prints is appended.
        python: whose; by default this process's.
        with_gpu: whether it may use one.
        confined: where the machine can, it writes to that copy alone, within limits; see
            :func:`~.toolchains.process.run_command`.

    Raises:
        ToolchainError: it did not end with status 0.
    """
    with scratch_folder(f"{kind}") as scratch:
        kit = shutil.copytree(folder, Path(scratch, "kit"), symlinks=True)
        inputs, answers = Path(scratch, "inputs.npz"), Path(scratch, "answers.npz")
        np.savez(inputs, allow_pickle=False, input=images)
        command = [str(python or sys.executable), "-I", str(kit / script_of(kind)), *options]
        command += ["--inputs", str(inputs), "--answers", str(answers)]
        timeout = TIMEOUT_S + len(images)
        run_command(
            *(kind, "run", command),
            cwd=kit,
            log=log,
            timeout=timeout,
            with_gpu=with_gpu,
            confined_to=[scratch] if confined else (),
            memory_bytes=UNTRUSTED_BYTES,
        )
        with np.load(answers) as file:
            outputs = [file[f"output{index}"] for index in range(len(file.files) - 1)]
            return RunResult(outputs, float(file["ms"]))
