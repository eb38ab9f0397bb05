"""rknn-toolkit2: conversion, and its simulator, which runs only what the same process has built."""

import ctypes
import json
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


def _import_rknn(packages):
    """The toolkit; importing it needs two names of torch, and ``load_pytorch`` all of it.

    Args:
        packages: the folder of packages with a torch for this Python, or None: then a stand-in
            takes its place, and goes away at once, so that no other package takes it for real.
    """
    if packages:
        sys.path.append(packages)  # last: the toolkit's own NumPy and ONNX come first
        from rknn.api import RKNN

        return RKNN
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


class RknnError(Exception):
    """The toolkit's own words, one line."""


def convert(arguments, arrays):
    """Sources to RKNN. The value ``log`` is the build's, the only place of the layer table."""
    rknn = _rebuild(arguments, verbose=True)
    _demand(rknn.export_rknn, arguments["out"])
    return {"log": _said()}, {}


def run(arguments, arrays):
    """Build again, then simulate, picture by picture."""
    rknn = _rebuild(arguments)
    _demand(rknn.init_runtime)
    parts, seconds = [], []
    for picture in arrays["pictures"]:
        start = time.perf_counter()
        parts.append(_call(rknn.inference, inputs=[picture[None]], data_format=["nchw"]))
        seconds.append(time.perf_counter() - start)
    outputs = [np.concatenate(values) for values in zip(*parts, strict=True)]
    values = {"ms_per_image": float(np.median(seconds)) * 1e3}
    return values, {f"output{index}": output for index, output in enumerate(outputs)}


def analyze(arguments, arrays):
    """What each layer loses on some pictures.

    The value ``layers`` has a row for each tensor that the simulator stores: ``name``, ``op``, the
    worst cosines ``cosine`` and ``own_cosine``, and powers summed over the pictures: ``signal``
    (its mean over the pictures removed), ``error`` and ``own_error``. *Own* is what the layer does
    wrong by itself, given the right input. ``group`` are the tensors that must be widened to mend
    it: those of the layer, and those of the layers that it reads.
    """
    rknn = _rebuild(arguments, keep_graph=True)
    _demand(rknn.init_runtime)
    rows, golden = {}, {}
    for index, picture in enumerate(arrays["pictures"]):
        np.save("probe.npy", picture[None])
        folder = Path(f"analysis{index}")
        _demand(rknn.accuracy_analysis, inputs=["probe.npy"], output_dir=str(folder))
        files = _read_file_names(folder / "map_name_to_file.txt")
        table = _read_analysis(folder / "error_analysis.txt")
        for name, (op, numbers) in table.items():
            if numbers is None:  # fused into the next one
                continue
            wanted, got = (
                np.load(folder / side / "npy" / f"{files[name]}.npy").astype(np.float64)
                for side in ("golden", "simulator")
            )
            cosine, _, own_cosine, own_distance = numbers
            row = rows.setdefault(
                name,
                {"name": name, "op": op, "cosine": 1.0, "own_cosine": 1.0,
                 "error": 0.0, "own_error": 0.0},
            )  # fmt: skip
            row["cosine"] = min(row["cosine"], cosine)
            row["own_cosine"] = min(row["own_cosine"], own_cosine)
            row["error"] += float(np.square(got - wanted).sum())
            row["own_error"] += own_distance**2
            golden.setdefault(name, []).append(wanted)
    producers = _read_producers(Path(arguments["settings"]["model"]).stem + ".model")
    for name, row in rows.items():
        signal = np.stack(golden[name])
        row["signal"] = float(np.square(signal - signal.mean(axis=0)).sum())
        row["group"] = _widened(name, producers, set(rows))
    return {"layers": list(rows.values())}, {}


def _rebuild(arguments, verbose=False, keep_graph=False):
    """Build from the sources in the artifact's folder."""
    folder, settings = Path(arguments["folder"]), arguments["settings"]
    calibration = None
    if settings["calibration"]:
        calibration = np.load(folder / settings["calibration"])["pictures"]
    settings = {**settings, "chip": arguments["chip"]}
    return _build(str(folder / settings["model"]), settings, calibration, verbose, keep_graph)


def _build(model, settings, calibration, verbose, keep_graph):
    """int8 if there are calibration pictures (raw, ``[N, C, H, W]``), else float16.

    The tensors of the setting ``wide`` are kept in more bits, which the toolkit calls hybrid: it
    writes graph and ranges into files, and reads them again when a list of names is in them.
    ``keep_graph`` goes that way too, for the sake of the graph.
    """
    rknn = _configured(settings, verbose)
    if model.endswith(".pt"):
        _demand(rknn.load_pytorch, model=model, input_size_list=[settings["shape"]])
    else:
        _demand(rknn.load_onnx, model=model)
    dataset = None if calibration is None else _write_dataset(calibration)
    if dataset is None or not (settings["wide"] or keep_graph):
        _demand(rknn.build, do_quantization=dataset is not None, dataset=dataset)
        return rknn
    _demand(rknn.hybrid_quantization_step1, dataset=dataset)
    stem = Path(model).stem
    ranges = Path(f"{stem}.quantization.cfg")
    head, rest = re.split(r"(?=^quantize_parameters:)", ranges.read_text(), flags=re.MULTILINE)
    if settings["wide"]:
        lines = [f"    {json.dumps(name)}: {settings['wide_type']}\n" for name in settings["wide"]]
        head = "custom_quantize_layers:\n" + "".join(lines)
    ranges.write_text(head + rest)
    rknn = _configured(settings, verbose)
    _demand(rknn.hybrid_quantization_step2, f"{stem}.model", f"{stem}.data", str(ranges))
    return rknn


def _configured(settings, verbose):
    rknn = _import_rknn(settings.get("packages"))(verbose=verbose)
    _demand(
        rknn.config,
        target_platform=settings["chip"],
        mean_values=[settings["mean"]],
        std_values=[settings["std"]],
        quantized_algorithm=settings["algorithm"],
    )
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


def _read_file_names(path):
    """Names of tensors to stems of files, from the two columns of a table with a head."""
    lines = [line.split() for line in path.read_text().splitlines()[2:] if line.strip()]
    return {name: Path(file).stem for name, file in lines}


def _read_analysis(path):
    """By a tensor's name its operator and cosine, distance (entire), cosine, distance (own).

    Four numbers, or None for a tensor that was never stored.
    """
    row = re.compile(r"\[(?P<op>[^\]]+)\] (?P<name>\S+)(?P<numbers>[\s\d.e+|-]*)")
    table = {}
    for line in re.sub(r"\x1b\[[\d;]*m", "", path.read_text()).splitlines():
        if match := row.fullmatch(line):
            numbers = [float(text) for text in re.findall(r"[\d.e+-]+", match["numbers"])]
            table[match["name"]] = match["op"], numbers or None
    if not table:
        raise RknnError("the toolkit's table of errors is empty")
    return table


def _read_producers(path):
    """By a tensor's name the activations that it is computed from; of the quantised graph.

    Empty where there is no such graph, as in float16.
    """
    if not Path(path).exists():
        return {}
    import onnx

    graph = onnx.load(path).graph
    known = {value.name for value in graph.input} | {o for node in graph.node for o in node.output}
    return {
        output: [name for name in node.input if name in known]
        for node in graph.node
        for output in node.output
    }


def _widened(name, producers, stored):
    """The tensors of ``name``'s fused layer, and of those that it reads; none of the input's."""
    group, border = _fused(name, producers, stored)
    for source in border:
        if any(name in producers for name in producers.get(source, [])):  # not the picture's
            group |= _fused(source, producers, stored)[0]
    return sorted(group & set(producers))


def _fused(name, producers, stored):
    """The tensors that are computed on the way to ``name``, and the stored ones that go in."""
    group, border, ahead = {name}, set(), [name]
    while ahead:
        for source in producers.get(ahead.pop(), []):
            if source in stored:
                border.add(source)
            elif source not in group:
                group.add(source)
                ahead.append(source)
    return group, border


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
