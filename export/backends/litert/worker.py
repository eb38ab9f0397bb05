"""litert-torch converts, ai-edge-quantizer quantises, LiteRT runs, Vela compiles for Ethos-U."""

from __future__ import annotations

import csv
import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def preload(function, arguments):
    if function == "convert":
        _add_packages(arguments["packages"])
        names = ("litert_torch", "litert_floats", "litert_forms", "ai_edge_quantizer.quantizer")
        for name in names:
            importlib.import_module(name)


def _add_packages(packages):
    """edgeark's PyTorch; last, so that what is here comes first."""
    if packages not in sys.path:
        sys.path.append(packages)


def convert(arguments, arrays):
    """torch.export's program to a LiteRT file; int8 where there are calibration images.

    The values ``input`` and ``outputs`` are the scale and the zero point of each, by which what is
    int8 there is to be read.
    """
    settings, path = arguments["settings"], arguments["out"]
    preload("convert", arguments)
    _convert(arguments["program"], settings["layout"], path)
    if "images" in arrays:
        _quantize(path, arrays["images"], settings, arguments["floats"])
    runner = _Runner(path, settings["layout"])
    scales = [runner.input["quantization"], *(o["quantization"] for o in runner.outputs)]
    first, *others = [{"scale": float(s) or 1.0, "zero_point": int(z)} for s, z in scales]
    return {"input": first, "outputs": others}, {}


def run(arguments, arrays):
    settings = arguments["settings"]
    path = os.path.join(arguments["folder"], arguments["files"][0])
    runner = _open(path, settings["layout"])
    parts, seconds = [], []
    for x in _inputs(arrays["images"], settings):
        answers, took = runner(x)
        parts.append(answers)
        seconds.append(took)
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


def compile_for_npu(arguments, arrays):
    """An int8 LiteRT file to one whose ``ethos-u`` operators hold what the NPU runs.

    The values are the rows of Vela's reports, as text: ``layers`` and ``summary``.
    """
    vela = os.path.join(os.path.dirname(sys.executable), "vela")
    command = [vela, arguments["tflite"], "--accelerator-config", arguments["accelerator"]]
    command += ["--output-dir", "vela", "--verbose-performance"]
    subprocess.run(command, check=True)
    (layers,) = Path("vela").glob("*_per-layer.csv")
    (summary,) = Path("vela").glob("*_summary_*.csv")
    (compiled,) = Path("vela").glob("*_vela.tflite")
    rows, (totals,) = (list(csv.DictReader(path.open())) for path in (layers, summary))
    shutil.copyfile(compiled, arguments["out"])
    return {"layers": rows, "summary": totals}, {}


def list_operators(arguments, arrays):
    """A file's ``operators`` in order, each with the name that its first output has."""
    runner = Interpreter(arguments["tflite"])
    tensors = {detail["index"]: detail for detail in runner.get_tensor_details()}
    return {
        "operators": [
            {
                "name": tensors[operator["outputs"][0]]["name"],
                "op": operator["op_name"],
                "inputs": [tensors[i]["shape"].tolist() for i in operator["inputs"] if i >= 0],
                "output": tensors[operator["outputs"][0]]["shape"].tolist(),
            }
            for operator in runner._get_ops_details()
        ]
    }, {}


@functools.lru_cache(maxsize=1)
def _open(path, layout):
    return _Runner(path, layout)


class _Runner:
    """The interpreter on one thread; float32 in and out, whatever the file takes."""

    def __init__(self, path, layout):
        self._layout = layout
        self._runner = Interpreter(path, num_threads=1).get_signature_runner()
        ((self.input_name, self.input),) = self._runner.get_input_details().items()
        details = self._runner.get_output_details()
        self._names = sorted(details, key=_number)
        self.outputs = [details[name] for name in self._names]

    def __call__(self, x):
        """The outputs in NCHW, and the seconds that the interpreter took."""
        x = _quantized(x, self.input)
        start = time.perf_counter()
        answers = self._runner(**{self.input_name: x})
        seconds = time.perf_counter() - start
        named = zip(self._names, self.outputs)
        return [self._nchw(_dequantized(answers[n], detail)) for n, detail in named], seconds

    def _nchw(self, output):
        is_map = self._layout == "NHWC" and output.ndim == 4
        return output.transpose(0, 3, 1, 2) if is_map else output


def _convert(program, layout, path):
    import litert_torch
    import torch

    exported = torch.export.load(program)
    (example,), _ = exported.example_inputs
    network = _mended(exported.module())
    if layout == "NHWC":
        maps = [i for i, output in enumerate(_answers(network, example)) if output.ndim == 4]
        network = litert_torch.to_channel_last_io(network, args=[0], outputs=maps)
        example = example.permute(0, 2, 3, 1).contiguous()
    litert_torch.convert(network, (example,)).export(path)
    _mend_nearest(path)


def _mended(network):
    """The same network, with equal forms of what litert-torch converts wrongly or not at all."""
    import litert_forms

    return litert_forms.mend(network)


def _mend_nearest(path):
    """Nearest resizing takes pixel ``floor(i * scale)``, as PyTorch's does.

    The converter asks for ``floor((i + 0.5) * scale)``: the same for whole factors alone, of which
    the file is left as it is.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(path)
    fixed = False
    for graph in model.subgraphs:
        for op in graph.operators:
            if type(op.builtinOptions).__name__ != "ResizeNearestNeighborOptionsT":
                continue
            before, after = (graph.tensors[i].shape[1:3] for i in (op.inputs[0], op.outputs[0]))
            if any(new % old for old, new in zip(before, after)):
                op.builtinOptions.halfPixelCenters = False
                fixed = True
    if fixed:
        flatbuffer_utils.write_model(model, path)


def _answers(network, example):
    outputs = network(example)
    return outputs if isinstance(outputs, (tuple, list)) else (outputs,)


def _quantize(path, images, settings, floats):
    """Weights and activations in int8, biases in int32; input and outputs are int8 too.

    With ``floats``, what int8 would spoil stays in float32. An activation's range is the one over
    all images. The quantiser's own is a moving average of the images' ranges, which clips.
    """
    import litert_floats
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationInterpreter, CalibrationMode

    scheme = recipe.static_wi8_ai8()
    if floats and litert_floats.mark(path):
        plain = {"operation": "*", "algorithm_key": "no_quantize", "op_config": {}}
        scheme.append({"regex": litert_floats.MARK, **plain})

    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    calibrator = CalibrationInterpreter(path, mode, _widest)
    (signature,) = calibrator.get_signature_list()
    runner = calibrator.get_signature_runner(signature)
    (name,) = runner.get_input_details()
    for x in _inputs(images, settings):
        runner(**{name: x})
    job = quantizer.Quantizer(path)
    job.load_quantization_recipe(scheme)
    quantized = job.quantize(calibrator.get_calibration_results())
    quantized.export_model(path, overwrite=True)


def _widest(known, new):
    if not known:
        return new
    return {
        "min": np.minimum(known["min"], new["min"]),
        "max": np.maximum(known["max"], new["max"]),
    }


def _inputs(images, settings):
    """Raw images ``[N, C, H, W]``, normalised one by one, in the file's layout."""
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    for image in images:
        x = (image[None] - mean) / std
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1) if settings["layout"] == "NHWC" else x)


def _quantized(x, detail):
    if detail["dtype"] == np.float32:
        return x
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(values, detail):
    scale, zero = detail["quantization"]
    if not scale:  # floats, and indices
        return values
    return (values.astype(np.float32) - zero) * np.float32(scale)


def _number(name):
    """``output_10`` comes after ``output_2``."""
    return [int(digits) for digits in re.findall(r"\d+", name)]
