"""rknn-toolkit2: conversion, and its simulator, which runs only what the same process has built."""

import ctypes
import os
import re
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np

# A crash leaves the temporary folders of the toolkit behind: let them lie in the scratch folder.
tempfile.tempdir = str(Path.cwd())
_LOG_START = os.fstat(1).st_size
_LINE_BUFFERED = 1  # _IOLBF of stdio.h


def _print_lines_at_once():
    """libc holds back 4 KB of what the C++ part prints: a table's end, or a crash's last words."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, ctypes.c_size_t(0))


def _import_rknn():
    """The toolkit without torch, of which importing it needs two names.

    It is used by ``load_pytorch`` and by the GDQ quantiser, neither of which is called here. The
    stand-in goes away at once, so that no other package takes it for the real one.
    """
    torch, nn = types.ModuleType("torch"), types.ModuleType("torch.nn")
    torch.no_grad = lambda: lambda function: function
    torch.nn, nn.Module = nn, object
    sys.modules.update({"torch": torch, "torch.nn": nn})
    try:
        from rknn.api import RKNN
    finally:
        del sys.modules["torch"], sys.modules["torch.nn"]
    return RKNN


_print_lines_at_once()
RKNN = _import_rknn()


class RknnError(Exception):
    """The toolkit's own words, one line."""


def convert(arguments, arrays):
    """ONNX to RKNN. The value ``log`` is the build's log, the only place of the layer table."""
    rknn = _build(arguments["onnx"], arguments, arrays.get("pictures"), verbose=True)
    _demand(rknn.export_rknn, arguments["out"])
    return {"log": _said()}, {}


def run(arguments, arrays):
    """Build again from the sources in the artifact's folder, then simulate, picture by picture."""
    folder, settings = Path(arguments["folder"]), arguments["settings"]
    calibration = None
    if settings["calibration"]:
        calibration = np.load(folder / settings["calibration"])["pictures"]
    settings = {**settings, "chip": arguments["chip"]}
    rknn = _build(str(folder / settings["onnx"]), settings, calibration, verbose=False)
    _demand(rknn.init_runtime)
    parts, seconds = [], []
    for picture in arrays["pictures"]:
        start = time.perf_counter()
        parts.append(_call(rknn.inference, inputs=[picture[None]], data_format=["nchw"]))
        seconds.append(time.perf_counter() - start)
    outputs = [np.concatenate(values) for values in zip(*parts, strict=True)]
    values = {"ms_per_image": float(np.median(seconds)) * 1e3}
    return values, {f"output{index}": output for index, output in enumerate(outputs)}


def _build(onnx, settings, calibration, verbose):
    """int8 if there are calibration pictures (raw, ``[N, C, H, W]``), else float16."""
    rknn = RKNN(verbose=verbose)
    _demand(
        rknn.config,
        target_platform=settings["chip"],
        mean_values=[settings["mean"]],
        std_values=[settings["std"]],
        quantized_algorithm="normal",
    )
    _demand(rknn.load_onnx, model=onnx)
    dataset = None if calibration is None else _write_dataset(calibration)
    _demand(rknn.build, do_quantization=dataset is not None, dataset=dataset)
    return rknn


def _write_dataset(pictures):
    """The toolkit reads its calibration pictures from files that a list names."""
    folder, dataset = Path("calibration"), Path("calibration.txt")
    folder.mkdir()
    names = [folder / f"{index:06d}.npy" for index in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        np.save(name, picture[None])
    dataset.write_text("".join(f"{name}\n" for name in names))
    return str(dataset)


def _demand(function, *arguments, **keywords):
    """Call what returns 0 when all is well; the reason of another value is in the log."""
    code = _call(function, *arguments, **keywords)
    if code != 0:
        raise RknnError(_last_error() or f"{function.__name__} returned {code}")


def _call(function, *arguments, **keywords):
    """Call the toolkit; the text of its ValueErrors is a traceback, with the cause at its end."""
    try:
        return function(*arguments, **keywords)
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RknnError(lines[-1].removeprefix("ValueError: ") if lines else repr(error)) from None


def _said():
    """What this process has printed so far, read from the log file that is its standard output.

    The C++ part writes to descriptor 1, past ``sys.stdout``. Pointing the descriptor elsewhere to
    catch that would lose the log of a crash.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    words = Path("/proc/self/fd/1").read_bytes()[_LOG_START:].decode(errors="replace")
    return re.sub(r"\x1b\[[\d;]*m", "", words)  # without colours


def _last_error():
    """The last line of the log that starts with ``E``: the toolkit's reason for its bad return."""
    errors = re.findall(r"^E (?:RKNN: \[[\d:.]+\] )?(.+)$", _said(), re.MULTILINE)
    return errors[-1].strip() if errors else ""
