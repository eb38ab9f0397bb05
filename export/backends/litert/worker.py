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
        for name in ("litert_torch", "ai_edge_quantizer.quantizer"):
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
        _quantize(path, arrays["images"], settings)
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
    from torch import fx

    graph, forms = network.graph, _forms()
    tracer = fx.proxy.GraphAppendingTracer(graph)

    def proxy(node):
        return fx.Proxy(node, tracer)

    for node in list(graph.nodes):
        if node.target not in forms:
            continue
        with graph.inserting_before(node):
            arguments, named = fx.map_arg((node.args, node.kwargs), proxy)
            other = forms[node.target](node, *arguments, **named)
        if other is None:
            continue
        if isinstance(other, tuple):
            for user in list(node.users):  # each picks one of the results
                user.replace_all_uses_with(other[user.args[1]].node)
                graph.erase_node(user)
        else:
            other.node.meta.setdefault("val", node.meta["val"])  # of which the next form asks
            node.replace_all_uses_with(other.node)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    network.recompile()
    return network


def _forms():
    """By operator: what takes its node and arguments and gives the same; None leaves it."""
    from torch import ops

    aten = ops.aten
    return {
        aten.view.default: lambda node, x, shape: x.reshape(shape),  # moved channels: no view
        aten.repeat.default: _repeated,
        aten.tile.default: _repeated,
        aten.expand.default: _expanded,
        aten.expand_as.default: _expanded,
        aten.lift_fresh_copy.default: lambda node, x: x,  # of constants that forward() makes
        aten.detach_.default: lambda node, x: x,
        aten.pow.Tensor_Scalar: _power,
        aten.pow.Scalar: _power,
        aten.square.default: _power,
        aten.topk.default: _largest,
        aten.sort.default: _sorted,
        aten.argsort.default: lambda node, x, *how: _sorted(node, x, *how)[1],
        aten.adaptive_max_pool2d.default: _adaptive_maximum,
        aten.conv_transpose2d.input: _transposed,
    }


def _shape(x):
    return list(x.node.meta["val"].shape)


def _constant(node, name, tensor):
    """In the graph, as a buffer of the network's."""
    from torch import fx

    graph, network = node.graph, node.graph.owning_module
    name = f"{node.name}_{name}"
    network.register_buffer(name, tensor)
    return fx.Proxy(graph.get_attr(name), fx.proxy.GraphAppendingTracer(graph))


def _repeated(node, x, counts):
    """Concatenations: a repetition's counts are not moved to the end with the channels."""
    import torch

    rank = len(_shape(x))
    if len(counts) > rank:  # new axes, behind which the converter moves nothing
        return None
    for axis, count in enumerate(counts, rank - len(counts)):
        if count > 1:
            x = torch.cat([x] * count, axis)
    return x


def _expanded(node, x, *_, **__):
    """Nothing where arithmetic expands it by itself, else concatenations."""
    before, after = _shape(x), list(node.meta["val"].shape)
    if len(before) != len(after):
        return None
    if all(_is_joined(user, node, after) for user in node.users):
        return x
    return _repeated(node, x, [new if new != old else 1 for old, new in zip(before, after)])


def _is_joined(user, node, shape):
    """Whether an operator reads ``node`` beside another tensor that has the whole ``shape``."""
    from torch import ops

    aten = ops.aten
    arithmetic = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}
    others = [one for one in user.all_input_nodes if one is not node]
    return user.target in arithmetic and any(list(o.meta["val"].shape) == shape for o in others)


def _power(node, x, y=2):
    """LiteRT's powers end at four axes."""
    from torch import fx

    if node.meta["val"].ndim <= 4:
        return None
    if not isinstance(y, fx.Proxy) and y in (2, 3):
        return x * x if y == 2 else x * x * x
    flat = [one.flatten() if isinstance(one, fx.Proxy) else one for one in (x, y)]
    return (flat[0] ** flat[1]).reshape(list(node.meta["val"].shape))


def _largest(node, x, k, dim=-1, largest=True, is_sorted=True):
    """With both results in use; of the values alone LiteRT has no operator."""
    import torch

    _, places = torch.topk(x, k, dim, largest, is_sorted)
    return x.gather(dim, places), places


def _sorted(node, x, dim=-1, descending=False):
    return _largest(node, x, _shape(x)[dim], dim, descending)


def _adaptive_maximum(node, x, size):
    """The maxima of slices, along each column first; None where their places are wanted."""
    import torch

    if any(user.args[1] != 0 and user.users for user in node.users):
        return None
    for axis, n, m in zip((-2, -1), _shape(x)[-2:], size):
        ends = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        parts = [x.narrow(axis, a, b - a).amax(axis, keepdim=True) for a, b in ends]
        x = torch.cat(parts, axis) if m > 1 else parts[0]
    return x, x


def _transposed(node, x, weight, bias=None, stride=1, padding=0, more=0, groups=1, dilation=1):
    """Without padding, and cropped; a dilated kernel is written out with its zeros."""
    import torch

    step, pad, extra, holes = (
        [value] * 2 if isinstance(value, int) else (list(value) * 2)[:2]
        for value in (stride, padding, more, dilation)
    )
    kernel = _shape(weight)[2:]
    is_read = all(
        s == 1 or (d == 1 and (p == 0 or (2 * p == k - s and e == 0)))
        for k, s, p, e, d in zip(kernel, step, pad, extra, holes)
    )
    if is_read:
        return None
    for axis, (k, d) in enumerate(zip(kernel, holes), 2):
        if d > 1 and k > 1:
            spread = torch.zeros(k, (k - 1) * d + 1)
            spread[torch.arange(k), torch.arange(k) * d] = 1
            spread = _constant(node, f"holes{axis}", spread)
            weight = (weight.transpose(axis, -1) @ spread).transpose(axis, -1)
    y = torch.conv_transpose2d(x, weight, None, step, groups=groups)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, holes)]
    for axis, (n, s, span, p, e) in enumerate(zip(_shape(x)[2:], step, spans, pad, extra), 2):
        have, want = (n - 1) * s + span - p, (n - 1) * s + span - 2 * p + e
        y = y.narrow(axis, p, min(have, want))
        if want > have:
            ends = [0, want - have] if axis == 3 else [0, 0, 0, want - have]
            y = torch.nn.functional.pad(y, ends)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


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


def _quantize(path, images, settings):
    """Weights and activations in int8, biases in int32; input and outputs are int8 too.

    An activation's range is the one over all images. The quantiser's own is a moving average of
    the images' ranges, which clips.
    """
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationInterpreter, CalibrationMode

    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    calibrator = CalibrationInterpreter(path, mode, _widest)
    (signature,) = calibrator.get_signature_list()
    runner = calibrator.get_signature_runner(signature)
    (name,) = runner.get_input_details()
    for x in _inputs(images, settings):
        runner(**{name: x})
    job = quantizer.Quantizer(path)
    job.load_quantization_recipe(recipe.static_wi8_ai8())
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
