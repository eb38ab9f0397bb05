"""rknn-toolkit2: conversion, and its simulator, which runs only what the same process has built."""

import ctypes
import functools
import importlib
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


class _StandIn(types.ModuleType):
    """Two names of torch, which is all that importing the toolkit needs of it.

    A few rewrites of graphs want more, and get it of the torch in ``packages`` (None: there is
    none for this Python): importing that takes longer than most conversions.
    """

    def __init__(self, packages):
        super().__init__("torch")
        self.packages = packages
        self.no_grad = lambda: lambda function: function
        self.nn = types.ModuleType("torch.nn")
        self.nn.Module = object

    def __getattr__(self, name):
        if name.startswith("__") or not self.packages:
            raise AttributeError(f"module 'torch' has no attribute {name!r}")
        return getattr(_import_torch(self.packages), name)


def _import_torch(packages):
    if packages not in sys.path:
        sys.path.append(packages)  # last: the toolkit's own NumPy and ONNX come first
    return importlib.import_module("torch")


def _import_rknn(packages, whole_torch):
    """The toolkit, with torch or with a stand-in.

    The stand-in goes away at once, so that no other package takes it for the real one.
    """
    if whole_torch:
        _import_torch(packages)
        from rknn.api import RKNN

        return RKNN
    torch = _StandIn(packages)
    sys.modules.update({"torch": torch, "torch.nn": torch.nn})
    try:
        from rknn.api import RKNN
    finally:
        del sys.modules["torch"], sys.modules["torch.nn"]
    return RKNN


_print_lines_at_once()


class RknnError(Exception):
    """The toolkit's own words, one line."""


def convert(arguments, arrays):
    """Sources to RKNN. The value ``log`` is the build's, the only place of the layer table.

    A rule of the toolkit's optimiser that dies is left out, as its log then says; the value
    ``disabled_rules`` has those.
    """
    disabled = []
    while True:
        start = len(_said())
        settings = {**arguments["settings"], "disabled_rules": disabled}
        try:
            rknn = _rebuild({**arguments, "settings": settings}, verbose=True)
            break
        except RknnError:
            named = set(re.findall(r"disable_rules=\['(\w+)'\]", _said()[start:]))
            if named <= set(disabled):
                raise
            disabled = sorted({*disabled, *named})
    _demand(rknn.export_rknn, arguments["out"])
    return {"log": _said()[start:], "disabled_rules": disabled}, {}


def run(arguments, arrays):
    """Build again, then simulate, image by image."""
    rknn = _open(json.dumps(arguments, sort_keys=True))
    parts, seconds = [], []
    for image in arrays["images"]:
        start = time.perf_counter()
        parts.append(_call(rknn.inference, inputs=[image[None]], data_format=["nchw"]))
        seconds.append(time.perf_counter() - start)
    outputs = [np.concatenate(values) for values in zip(*parts, strict=True)]
    values = {"ms_per_image": float(np.median(seconds)) * 1e3}
    return values, {f"output{index}": output for index, output in enumerate(outputs)}


@functools.lru_cache(maxsize=1)
def _open(arguments):
    """Built again, and ready to simulate."""
    rknn = _rebuild(json.loads(arguments))
    _demand(rknn.init_runtime)
    return rknn


def analyze(arguments, arrays):
    """What each layer loses on some images.

    The value ``layers`` has a row for each tensor that the simulator stores: ``name``, ``op``, the
    worst cosines ``cosine`` and ``own_cosine``, and powers summed over the images: ``signal``
    (its mean over the images removed), ``error`` and ``own_error``. *Own* is what the layer does
    wrong by itself, given the right input. ``group`` are the tensors that must be widened to fix
    it: those of the layer, and those of the layers that it reads.
    """
    rknn = _rebuild(arguments, keep_graph=True)
    _demand(rknn.init_runtime)
    folders, tables = [], []
    for index, image in enumerate(arrays["images"]):
        folders.append(Path(f"analysis{index}"))
        np.save("probe.npy", image[None])
        _demand(rknn.accuracy_analysis, inputs=["probe.npy"], output_dir=str(folders[-1]))
        tables.append(_read_analysis(folders[-1] / "error_analysis.txt"))
        for text in folders[-1].glob("*/*.txt"):  # the arrays once more, many times their size
            text.unlink()
    files = _read_file_names(folders[0] / "map_name_to_file.txt")
    stored = [name for name, (_, numbers) in tables[0].items() if numbers]  # not fused away
    producers = _read_producers(Path(arguments["settings"]["model"]).stem + ".model")
    rows = []
    for name in stored:  # one layer at a time: all of them may not fit the memory
        wanted, got = (
            np.stack([np.load(f / side / "npy" / f"{files[name]}.npy") for f in folders])
            for side in ("golden", "simulator")
        )
        cosines, _, own_cosines, own_distances = zip(*(t[name][1] for t in tables), strict=True)
        rows.append(
            {
                "name": name,
                "op": tables[0][name][0],
                "cosine": min(cosines),
                "own_cosine": min(own_cosines),
                "signal": float(np.square(wanted - wanted.mean(axis=0), dtype=np.float64).sum()),
                "error": float(np.square(got - wanted, dtype=np.float64).sum()),
                "own_error": sum(distance**2 for distance in own_distances),
                "group": _widened(name, producers, set(stored)),
            }
        )
    return {"layers": rows}, {}


def _rebuild(arguments, verbose=False, keep_graph=False):
    """Build from the sources in the artifact's folder."""
    folder, settings = Path(arguments["folder"]), arguments["settings"]
    calibration = None
    if settings["calibration"]:
        calibration = np.load(folder / settings["calibration"])["images"]
    settings = {**settings, "chip": arguments["chip"]}
    return _build(str(folder / settings["model"]), settings, calibration, verbose, keep_graph)


def _build(model, settings, calibration, verbose, keep_graph):
    """int8 if there are calibration images (raw, ``[N, C, H, W]``), else float16.

    The tensors of the setting ``wide`` are kept in more bits, which the toolkit calls hybrid: it
    writes graph and ranges into files, and reads them again when a list of names is in them.
    ``keep_graph`` goes that way too, for the sake of the graph.
    """
    is_torchscript = model.endswith(".pt")  # which the whole of torch reads
    rknn = _configured(settings, verbose, is_torchscript)
    if is_torchscript:
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
    rknn = _configured(settings, verbose, is_torchscript)
    _demand(rknn.hybrid_quantization_step2, f"{stem}.model", f"{stem}.data", str(ranges))
    return rknn


def _configured(settings, verbose, whole_torch):
    rknn = _import_rknn(settings["packages"], whole_torch)(verbose=verbose)
    disabled = settings.get("disabled_rules")
    _demand(
        rknn.config,
        target_platform=settings["chip"],
        mean_values=[settings["mean"]],
        std_values=[settings["std"]],
        quantized_algorithm=settings["algorithm"],
        **({"disable_rules": disabled} if disabled else {}),
    )
    return rknn


def _write_dataset(images):
    """The toolkit reads its calibration images from files that a list names."""
    folder, dataset = Path("calibration"), Path("calibration.txt")
    folder.mkdir(exist_ok=True)  # a build may be the second
    names = [folder / f"{index:06d}.npy" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        np.save(name, image[None])
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
        if any(name in producers for name in producers.get(source, [])):  # not the image's
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
