"""MNN's converter, quantiser and runtime, called through its extension modules alone.

Never import ``MNN.tools``, nor run MNN's command line tools, which do: on import it runs
``pip install`` in whatever environment is at hand and posts a machine id to a log service.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import struct
import time

import _tools
import MNN
import numpy as np

nn, expr = MNN.nn, MNN.expr

_COLORS = {1: "GRAY", 3: "RGB"}
_SAMPLES = 1000  # of each tensor and pixels, to choose int8 ranges by
_TINY = 1e-6  # the least range
_WINOGRAD_MEMORY_LEVEL = 3  # a hint's number in MNN's Interpreter.hpp


def convert(arguments, arrays):
    """ONNX to MNN; int8 where there are calibration images, weights in 16 bits if ``half``."""
    command = ["mnnconvert", "-f", "ONNX", "--modelFile", arguments["onnx"]]
    command += ["--MNNModel", "float.mnn", "--bizCode", "edgeark"]
    _tools.mnnconvert([*command, "--fp16"] if arguments["half"] else command)
    _check_written("float.mnn")
    result = "float.mnn"
    if "images" in arrays:
        result = "int8.mnn"
        _quantize("float.mnn", result, arrays["images"], arguments["settings"])
    shutil.copyfile(result, arguments["out"])
    return {}, {}


def run(arguments, arrays):
    path = os.path.join(arguments["folder"], arguments["files"][0])
    settings, images = arguments["settings"], arrays["images"]
    forward = _load(path, tuple(settings["inputs"]), tuple(settings["outputs"]))
    prepare = _fields if images.dtype.names else _normalizer(settings, images.shape)
    parts, seconds = [], []
    for pixels in images:
        values = prepare(pixels)
        start = time.perf_counter()
        parts.append(forward(*values))
        seconds.append(time.perf_counter() - start)
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _load(path, input_names, output_names):
    """A function from arrays to arrays, on one thread."""
    runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": 1, "precision": "high"},))
    runtime.set_hint(_WINOGRAD_MEMORY_LEVEL, 1)  # the default costs three digits of accuracy
    network = nn.load_module_from_file(
        path, list(input_names), list(output_names), runtime_manager=runtime
    )

    def forward(*inputs):
        entries = [expr.placeholder(list(x.shape), expr.NCHW, expr.float) for x in inputs]
        for entry, values in zip(entries, inputs):
            entry.write(values)
        answers = [expr.convert(answer, expr.NCHW) for answer in network.forward(entries)]
        return [np.array(answer.read()) for answer in answers]  # read() is a view that dies with it

    return forward


def _fields(record):
    """The tensors of a network that takes no image, with the batch of 1."""
    return [np.ascontiguousarray(record[name][None]) for name in record.dtype.names]


def _normalizer(settings, shape):
    """MNN's own ImageProcess: pixels ``[C, H, W]`` uint8 to ``[1, C, H, W]`` float32."""
    _, channels, height, width = shape
    color = getattr(MNN, f"CV_ImageFormat_{_COLORS[channels]}")
    unused = 4 - channels  # ImageProcess has four channels always
    process = MNN.CVImageProcess(
        {
            "sourceFormat": color,
            "destFormat": color,
            "filterType": MNN.CV_Filter_NEAREST,
            "mean": (*settings["mean"], *(0.0,) * unused),
            "normal": (*(1 / value for value in settings["std"]), *(1.0,) * unused),
        }
    )
    blank = np.zeros((1, channels, height, width), np.float32)
    tensor = MNN.Tensor(blank.shape, MNN.Halide_Type_Float, blank, MNN.Tensor_DimensionType_Caffe)

    def normalize(pixels):
        image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        process.convert(image, width, height, 0, tensor)
        return [np.array(tensor.getNumpyData()).reshape(blank.shape)]

    return normalize


def _quantize(source, path, images, settings):
    """int8 by mnnquant for the weights and the file, with activation ranges of our own.

    mnnquant's ranges are no good in 3.6.1: its KL method cuts off all that is brighter than a
    uniform background (digits: 79 % instead of 99.6 %), its EMA method writes past a buffer from
    the second batch on, and its ADMM method crashes. The zero point is 0, which leaves 127 steps to
    what is never negative, half of the levels of a pixels: the first layers read it in float,
    which costs no time.
    """
    _describe(source, path, images[0], settings)
    quantized = _QuantizedFile(path)
    quantized.leave_input_in_float()
    quantized.leave_choices_in_float()
    names = quantized.names()
    forward = _load(source, tuple(settings["inputs"]), tuple(names))
    normalize = _normalizer(settings, images.shape)
    ranges = _choose_ranges(lambda pixels: forward(*normalize(pixels)), images)
    quantized.set_ranges(dict(zip(names, ranges)))
    quantized.save()


def _choose_ranges(answer, images):
    """``(low, high, peak)`` for each of the tensors that ``answer`` gives: what was seen, and 0.

    ``peak`` is the end of the symmetric range with the least squared error, of some within the
    largest magnitude: a few values are cut off where all others gain by it.
    """
    rng, seen = np.random.default_rng(0), []
    for pixels in images:
        tensors = [tensor.reshape(-1) for tensor in answer(pixels)]
        seen.append([(t.min(), t.max(), rng.choice(t, _SAMPLES)) for t in tensors])
    ranges = []
    for of_one_tensor in zip(*seen):
        lows, highs, samples = zip(*of_one_tensor)
        low, high, values = min(*lows, 0), max(*highs, 0), np.concatenate(samples)
        peaks = max(-low, high, _TINY) * np.linspace(0.2, 1, 17)
        peak = min(peaks, key=lambda peak: _squared_error(values, peak / 127))
        ranges.append((low, high, peak))
    return ranges


def _squared_error(values, step):
    return np.square(np.clip(np.rint(values / step), -127, 127) * step - values).sum()


def _describe(source, path, pixels, settings):
    """A quantised file in which every tensor has a scale, still to be set."""
    channels, height, width = pixels.shape
    os.mkdir("images")
    header = f"P{5 if channels == 1 else 6} {width} {height} 255\n".encode()
    with open("images/0.ppm", "wb") as file:
        file.write(header + pixels.transpose(1, 2, 0).tobytes())
    config = {
        "format": _COLORS[channels],
        "mean": settings["mean"],
        "normal": [1 / value for value in settings["std"]],
        "width": width,
        "height": height,
        "path": "images/",
        "used_image_num": 1,
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
        "batch_size": 1,
        "input_type": "image",
    }
    with open("config.json", "w") as file:
        json.dump(config, file)
    _tools.mnnquant(["mnnquant", source, path, "config.json"])
    _check_written(path)


def _check_written(path):
    """The tools report a failure in words alone."""
    if not os.path.exists(path):
        raise RuntimeError(f"MNN's tools wrote no {path}")


class _QuantizedFile:
    """A quantised ``.mnn``, whose scales are changed in place.

    The runtime takes the scales of activations from the tensors' descriptions alone. The file is a
    FlatBuffer; the few fields needed are known by their numbers in MNN's schema.
    """

    _NET_DESCRIPTIONS, _NET_OPS, _NET_NAMES = 1, 3, 7
    _OP_INPUTS, _OP_MAIN, _OP_OUTPUTS, _OP_TYPE = 0, 2, 4, 5
    _POOLING, _POOL_TYPE, _MAX_POOL = 47, 7, 0
    _UNARY, _UNARY_TABLE = 101, 2
    _BINARY, _BINARY_TYPE = 7, 0
    _INTEGER_BINARIES = (0, 1, 2, 7, 14)  # add, sub, mul, div and the square of a difference
    _SELECT = 257
    _RESIZE, _INPUT, _CONVERT_LAYOUT = 35, 34, 129
    _DESCRIPTION_INDEX, _DESCRIPTION_QUANTIZATION = 1, 4
    _SCALE, _ZERO = 0, 1

    def __init__(self, path):
        self._path = path
        with open(path, "rb") as file:
            self._data = bytearray(file.read())
        network = self._target(0)
        places = self._vector(self._field(network, self._NET_NAMES))
        self._names = [self._string(self._target(place)) for place in places]
        self._ops = self._tables(network, self._NET_OPS)
        self._descriptions = {}  # tensor index: its table
        self._quantizations = {}
        for description in self._tables(network, self._NET_DESCRIPTIONS):
            place = self._field(description, self._DESCRIPTION_QUANTIZATION)
            index = self._integer(description, self._DESCRIPTION_INDEX)
            self._descriptions[index] = description
            self._quantizations[index] = self._target(place)

    def leave_input_in_float(self):
        """Take the scale from what enters the network, so that who reads it computes in float."""
        entering = set()
        for op in self._ops:  # in the order of their execution
            kind = self._integer(op, self._OP_TYPE)
            follows = entering.issuperset(self._integers(op, self._OP_INPUTS))
            if kind == self._INPUT or (kind == self._CONVERT_LAYOUT and follows):
                entering.update(self._integers(op, self._OP_OUTPUTS))
        self._leave_in_float(entering)

    def leave_choices_in_float(self):
        """Take the scale from maxima, minima, comparisons and selections: MNN is wrong in int8."""
        chosen = set()
        for op in self._ops:
            kind = self._integer(op, self._OP_TYPE)
            if kind == self._SELECT or (kind == self._BINARY and not self._is_arithmetic(op)):
                chosen.update(self._integers(op, self._OP_OUTPUTS))
        self._leave_in_float(chosen)

    def _is_arithmetic(self, op):
        binary = self._target(self._field(op, self._OP_MAIN))
        return self._integer(binary, self._BINARY_TYPE) in self._INTEGER_BINARIES

    def _leave_in_float(self, indexes):
        for index in indexes & self._quantizations.keys():
            del self._quantizations[index]
            self._drop(self._descriptions[index], self._DESCRIPTION_QUANTIZATION)

    def names(self):
        """The tensors that have a scale."""
        return [self._names[index] for index in self._quantizations]

    def set_ranges(self, ranges):
        """Give each tensor the scale of its range, one of :func:`_choose_ranges`.

        The zero point is 0: on x86 MNN adds int8 tensors wrongly with another one.
        """
        for group, measured, is_pooled in self._groups():
            lows, highs, peaks = zip(*(ranges[self._names[index]] for index in measured))
            low, high, peak = min(lows), max(highs), max(peaks)
            scale, zero = peak / 127, 0
            if is_pooled and low < 0:
                # Keep to 0..127: on x86 MNN stores an int8 value plus 128, as uint8, but its max
                # pool compares int8, so that the upper half loses against the lower. Nothing is cut
                # off here: what is below 0 would win.
                scale = (high - low) / 127
                zero = round(-low / scale)
            for table in (self._quantizations[index] for index in group):
                for field, value in ((self._SCALE, scale), (self._ZERO, zero)):
                    struct.pack_into("<f", self._data, self._field(table, field), value)
        self._drop_unary_tables()

    def _groups(self):
        """Tensors that must have one scale; which of them say it; whether a max pool is among them.

        MNN resizes and pools int8 without a change of scale; what is resized says nothing new.
        """
        groups = {index: [index] for index in self._quantizations}
        pooled, resized = set(), set()
        for op in self._ops:
            kind = self._integer(op, self._OP_TYPE)
            is_max_pool = kind == self._POOLING and self._is_max_pool(op)
            if not (is_max_pool or kind == self._RESIZE):
                continue
            source = self._integers(op, self._OP_INPUTS)[0]
            result = self._integers(op, self._OP_OUTPUTS)[0]
            if not {source, result} <= groups.keys():
                continue
            if groups[source] is not groups[result]:
                groups[source] += groups[result]
                groups.update((index, groups[source]) for index in groups[result])
            (pooled if is_max_pool else resized).add(result)
        for group in {id(group): group for group in groups.values()}.values():
            measured = [index for index in group if index not in resized]
            yield group, measured, not pooled.isdisjoint(group)

    def save(self):
        with open(self._path, "wb") as file:
            file.write(self._data)

    def _is_max_pool(self, op):
        pool = self._target(self._field(op, self._OP_MAIN))
        return self._integer(pool, self._POOL_TYPE) == self._MAX_POOL

    def _drop_unary_tables(self):
        """Let sigmoid and its like run in float: their tables are made for mnnquant's scales."""
        for op in self._ops:
            if self._integer(op, self._OP_TYPE) == self._UNARY:
                self._drop(self._target(self._field(op, self._OP_MAIN)), self._UNARY_TABLE)

    def _drop(self, table, number):
        """Take a field out of a table.

        The table names its layout, which others may share: it gets one of its own, at the end.
        """
        if self._field(table, number) is None:
            return
        layout = table - self._unpack("<i", table)
        copy = len(self._data)
        self._data += self._data[layout : layout + self._unpack("<H", layout)]
        struct.pack_into("<H", self._data, copy + 4 + 2 * number, 0)
        struct.pack_into("<i", self._data, table, table - copy)

    def _unpack(self, form, place):
        return struct.unpack_from(form, self._data, place)[0]

    def _field(self, table, number):
        """Where a field of a table is; None where it has its default value."""
        layout = table - self._unpack("<i", table)
        slot = 4 + 2 * number
        offset = self._unpack("<H", layout + slot) if slot < self._unpack("<H", layout) else 0
        return table + offset if offset else None

    def _integer(self, table, number):
        place = self._field(table, number)
        return 0 if place is None else self._unpack("<i", place)

    def _target(self, place):
        return place + self._unpack("<I", place)

    def _vector(self, place):
        """The places of a vector's items; none where the field is absent."""
        if place is None:
            return []
        vector = self._target(place)
        return [vector + 4 + 4 * item for item in range(self._unpack("<I", vector))]

    def _tables(self, table, number):
        return [self._target(place) for place in self._vector(self._field(table, number))]

    def _integers(self, table, number):
        return [self._unpack("<i", place) for place in self._vector(self._field(table, number))]

    def _string(self, place):
        return self._data[place + 4 : place + 4 + self._unpack("<I", place)].decode()
