"""Call a function of a toolchain's worker in its own process.

However the worker ends - a result, an exception, a signal, a time-out - the caller sees either the
result or one ``ToolchainError`` with the stage, the likely cause and the log.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ...core.scratch import scratch_folder
from ...core.settings import NO_TELEMETRY
from ...errors import EdgearkError
from .confine import can_confine
from .environment import Hint, Toolchain, ToolchainError, clean_environment, dying_with_us
from .kept import are_kept, borrow, kill_kept
from .preloaded import Job, can_preload, kill_preloaded, run_preloaded

TIMEOUT_S = 1800  # calibration runs a whole network on every image, on a busy machine

_KEPT = "run"  # the function whose worker can stay: see kept.py
_running: set[subprocess.Popen[bytes]] = set()  # all that this process has started

_HERE = Path(__file__).resolve().parent
_BOOTSTRAP, _CONFINE = _HERE / "bootstrap.py", _HERE / "confine.py"

# A script's own folder is on the path, and that of -c is where the user stands.
_FIND_MODULES = """
import sys
sys.path = [path for path in sys.path if path]
from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name)])
"""

_COMMON_HINTS = (
    Hint(r"No space left on device", "the disk is full"),
    Hint(r"std::bad_alloc|MemoryError|Cannot allocate memory", "out of memory"),
    Hint(r"libGL\.so", "a system library is missing: install libgl1"),
)


def call(
    toolchain: Toolchain,
    function: str,
    arguments: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
    *,
    log: Path,
    timeout: float = TIMEOUT_S,
    confined: bool = False,
    memory_bytes: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run ``worker.function(arguments, arrays)`` in the toolchain's environment.

    Args:
        toolchain: whose worker; its environment is made first where it is missing.
        function: a function of ``worker.py``.
        arguments: JSON values; paths as absolute strings.
        arrays: arrays by name.
        log: the file to which everything that the process prints is appended.
        timeout: seconds after which the process and its children are killed.
        confined: where the machine can, the process writes to its scratch folder alone and has no
            network; see :func:`.confine.confine`.
        memory_bytes: of a confined process; 0: no limit.

    Returns:
        The worker's values and arrays.

    Raises:
        ToolchainError: anything else.
    """
    python = toolchain.ensure()
    log.parent.mkdir(parents=True, exist_ok=True)
    limits = {"confined": confined and can_confine(), "memory_bytes": memory_bytes}
    command = [str(python), "-I", str(_BOOTSTRAP), str(toolchain.worker)]
    with ExitStack() as stack:
        kept = None
        if function == _KEPT and are_kept():
            kept = stack.enter_context(
                borrow((*command, *limits.values()), command, _environment())
            )
            folder = kept.folder
            for name in ("inputs.npz", "outputs.npz", "result.json"):  # of the job before
                (folder / name).unlink(missing_ok=True)
        else:
            name = toolchain.name.replace(":", "-")
            folder = stack.enter_context(scratch_folder(name))
            (folder / "work").mkdir()
            (folder / "tmp").mkdir()
        asked = {"function": function, "arguments": dict(arguments), **limits}
        (folder / "job.json").write_text(json.dumps(asked))
        if arrays:
            np.savez(folder / "inputs.npz", allow_pickle=False, **arrays)
        start = log.stat().st_size if log.exists() else 0
        # What a killed worker leaves goes with the scratch folder.
        environment = {**_environment(), "TMPDIR": str(folder / "tmp")}
        if kept is not None:
            code = kept.run(log, timeout)
        elif toolchain.preloads and can_preload():
            job = Job(folder, log, environment)
            code = run_preloaded(python, toolchain.worker, job, timeout)
        else:
            code = _run([*command, str(folder)], folder / "work", log, timeout, environment)
        result_path = folder / "result.json"
        if not result_path.exists():
            cause = _how_it_died(code, timeout)
            if last := _last_error(_words(log, start)):
                cause += f" after saying: {last}"
            raise _failure(toolchain.name, function, cause, log, start, toolchain.hints)
        result = json.loads(result_path.read_text())
        if "error" in result:
            error = result["error"]
            cause = f"{error['type']}: {_first_line(error['message'])}"
            raise _failure(toolchain.name, function, cause, log, start, toolchain.hints)
        with np.load(folder / "outputs.npz") as file:
            return result["values"], {key: file[key] for key in file.files}


def run_command(
    name: str,
    stage: str,
    command: list[str],
    *,
    cwd: Path,
    log: Path,
    timeout: float = TIMEOUT_S,
    with_gpu: bool = False,
    confined_to: Sequence[Path] = (),
    memory_bytes: int = 0,
) -> None:
    """Run a program of the user's own under a worker's conditions: environment, log, time limit.

    Args:
        name: of the toolchain, for the error.
        stage: what it is to do, for the error.
        command: program and arguments.
        cwd: where it works.
        log: the file to which everything that it prints is appended.
        timeout: seconds after which it and its children are killed.
        with_gpu: whether it may see one.
        confined_to: where the machine can, it writes to these folders alone and, without a GPU, has
            no network; see :func:`.confine.confine`; none: it is not confined.
        memory_bytes: of a confined program without a GPU; 0: no limit.

    Raises:
        ToolchainError: it did not end with status 0.
    """
    start = log.stat().st_size if log.exists() else 0
    environment = _environment(with_gpu)
    if confined_to:
        environment["TMPDIR"] = str(confined_to[0])
    if confined_to and can_confine():
        limits = {"writable": list(map(str, confined_to)), "with_gpu": with_gpu}
        limits["memory_bytes"] = 0 if with_gpu else memory_bytes  # a driver reserves terabytes
        command = [sys.executable, "-I", "-S", str(_CONFINE), json.dumps(limits), *command]
    code = _run(dying_with_us(command), cwd, log, timeout, environment)
    if code != 0:
        cause = f"it ended with status {code}" if code and code > 0 else _how_it_died(code, timeout)
        if last := _last_error(_words(log, start)):
            cause += f" after saying: {last}"
        raise _failure(name, stage, cause, log, start)


def find_modules(python: Path, names: Sequence[str]) -> set[str]:
    """Those of the modules that a Python of the user's has; they are not imported.

    Args:
        python: release 3.6 or later.
        names: of top-level modules.

    Raises:
        EdgearkError: the program does not answer as a Python.
    """
    command = [str(python), "-c", _FIND_MODULES, *names]
    try:
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EdgearkError(f"{python} does not answer as a Python does") from error
    return set(done.stdout.split()) & set(names)


def _environment(with_gpu: bool = False) -> dict[str, str]:
    environment = {**clean_environment(), **NO_TELEMETRY, "PYTHONUNBUFFERED": "1"}
    return environment if with_gpu else {**environment, "CUDA_VISIBLE_DEVICES": ""}


def _run(
    command: list[str], cwd: Path, log: Path, timeout: float, environment: dict[str, str]
) -> int | None:
    """The exit code; None when the time was up."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process)
            process.wait()
            _running.discard(process)


def kill_running() -> None:
    """Kill every worker of this process, and its children; who waits for one sees it die."""
    for process in tuple(_running):
        _kill(process)
    kill_preloaded()
    kill_kept()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how_it_died(code: int | None, timeout: float) -> str:
    if code is None:
        return f"no answer within {timeout:.0f} s"
    if code < 0:
        return f"the process died with {signal.Signals(-code).name}"
    return f"the process ended with status {code} and no result"


def _failure(
    name: str, stage: str, cause: str, log: Path, start: int, hints: Sequence[Hint] = ()
) -> ToolchainError:
    said = f"{_words(log, start)}\n{cause}"
    known = (*hints, *_COMMON_HINTS)
    fix = next((hint.fix for hint in known if re.search(hint.pattern, said)), "")
    likely = f" ({fix})" if fix else ""
    return ToolchainError(
        f"{name}: {stage} failed: {cause}{likely}; log: {log}", stage=stage, log=log
    )


def _words(log: Path, start: int) -> str:
    """What was appended to the log since ``start``."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _last_error(words: str) -> str:
    """The last line that calls itself an error: a crash's cause is often said there alone."""
    lines = re.findall(r"^(?:E |.*\b(?:ERROR|Error|error)\b).*$", words, re.MULTILINE)
    return " ".join(lines[-1].split())[:200] if lines else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")
