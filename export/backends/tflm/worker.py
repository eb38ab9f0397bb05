"""TensorFlow Lite Micro's interpreter: what memory a LiteRT file takes, and what it answers."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import flatbuffers
import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflite_micro.tensorflow.lite.micro.tools import tflite_flatbuffer_align_wrapper as aligner

_ALIGNMENT = 16  # bytes: of the arena's blocks
_FIRST_ARENA, _LARGEST_ARENA = 2**24, 2**31
_NO_MEMORY = re.compile(r"Failed to (?:allocate|resize)")
_WHY = re.compile(r"Didn't find op|not (?:currently )?supported|only support|Failed|failed to|!=")


def prepare(arguments, arrays):
    """Write a LiteRT file as the interpreter can read it: every weight in a buffer of its own.

    ai-edge-quantizer puts what is large behind the model (a buffer's ``offset``). The interpreter
    knows nothing of that: it takes such weights for maps, and computes with zeros.
    """
    path = Path(arguments["file"])
    content = path.read_bytes()
    model = _read(content)
    for buffer in model.buffers:
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    Path("inline.tflite").write_bytes(builder.Output())
    aligner.align_tflite_model("inline.tflite", str(path))  # Python's builder aligns nothing
    return {}, {}


def measure(arguments, arrays):
    """The values are bytes of the arena, and the file's ``operators`` in order, each once.

    ``arena_bytes`` is the least with which the network can be loaded: ``head_bytes`` hold the maps
    and what kernels work in, the tail what the interpreter remembers. ``output_places`` says which
    of the file's outputs each of the network's is.
    """
    content = Path(arguments["file"]).read_bytes()
    model = _read(content)
    size, interpreter = _FIRST_ARENA, None
    while interpreter is None:
        interpreter, said = _load(content, size)
        if interpreter is None:
            if not _NO_MEMORY.search(said) or size >= _LARGEST_ARENA:
                raise RuntimeError(_reason(said))
            size *= 2
    details = interpreter.get_input_details(0)
    interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
    _, said = _heard(interpreter.invoke)
    _, said = _heard(interpreter.print_allocations)
    found = dict(re.findall(r"Arena allocation (\w+) (\d+) bytes", said))
    head, total = int(found["head"]), int(found["total"])
    return {
        "arena_bytes": _least_arena(content, head, total),
        "head_bytes": head,
        "weights_bytes": sum(len(b.data) for b in model.buffers if b.data is not None),
        "operators": _operators(model),
        "output_places": _output_places(model),
    }, {}


def _least_arena(content, fails, loads):
    """Between what is too little and what is said to be used, which may be a few bytes off."""
    while _load(content, loads)[0] is None:  # planning may take more than the plan
        loads += _ALIGNMENT
    while loads - fails > 1:
        middle = (fails + loads) // 2
        if _load(content, middle)[0] is None:
            fails = middle
        else:
            loads = middle
    return loads


def run(arguments, arrays):
    settings = arguments["settings"]
    path = os.path.join(arguments["folder"], arguments["files"][0])
    interpreter, places = _open(path, settings["arena_bytes"])
    feed = interpreter.get_input_details(0)
    details = [interpreter.get_output_details(place) for place in places]
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    parts, seconds = [], []
    for image in arrays["images"]:
        x = ((image[None] - mean) / std).transpose(0, 2, 3, 1)
        x = _quantized(np.ascontiguousarray(x), feed)
        start = time.perf_counter()
        interpreter.set_input(x, 0)
        interpreter.invoke()
        answers = [interpreter.get_output(place) for place in places]
        seconds.append(time.perf_counter() - start)
        parts.append([_nchw(_dequantized(*pair)) for pair in zip(answers, details)])
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _open(path, arena_bytes):
    """The interpreter, and the places of the outputs."""
    content = Path(path).read_bytes()
    interpreter, said = _load(content, arena_bytes)
    if interpreter is None:
        raise RuntimeError(_reason(said))
    return interpreter, _output_places(_read(content))


def _load(content, arena_bytes):
    """The interpreter, None where it refuses; and what it said."""
    try:
        return _heard(lambda: runtime.Interpreter.from_bytes(content, arena_size=arena_bytes))
    except _Refused as refusal:
        return None, refusal.said


class _Refused(RuntimeError):
    """The interpreter failed; ``said`` is all that it wrote."""

    def __init__(self, said):
        super().__init__(_reason(said))
        self.said = said


def _heard(function):
    """What the function returns, and what the library wrote to stderr meanwhile."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        failed = None
        try:
            value = function()
        except RuntimeError as error:
            failed = error
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        said = file.read().decode(errors="replace")
    if failed is not None:
        sys.stderr.write(said)
        raise _Refused(f"{said}\n{failed}")
    return value, said


def _reason(said):
    """The first line that tells more than that something failed."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    return next((line for line in lines if _WHY.search(line)), lines[-1] if lines else "refused")


def _read(content):
    return runtime.convert_bytearray_to_object(bytearray(content))


def _operators(model):
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = model.operatorCodes
    used = dict.fromkeys(op.opcodeIndex for graph in model.subgraphs for op in graph.operators)
    return [names[runtime.get_builtin_code_from_operator_code(codes[index])] for index in used]


def _output_places(model):
    """In the network's order, which the converter tells by the names' numbers alone."""
    (signature,) = model.signatureDefs
    named = sorted(signature.outputs, key=lambda output: _number(output.name))
    order = list(model.subgraphs[signature.subgraphIndex].outputs)
    return [order.index(output.tensorIndex) for output in named]


def _number(name):
    """``output_10`` comes after ``output_2``."""
    text = name.decode() if isinstance(name, bytes) else name
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _quantized(x, detail):
    if detail["dtype"] == np.float32:
        return x.astype(np.float32)
    scale, zero = _scale(detail)
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(values, detail):
    if not len(detail["quantization_parameters"]["scales"]):  # float32, or an index
        return values
    scale, zero = _scale(detail)
    return (values.astype(np.float32) - zero) * scale


def _scale(detail):
    found = detail["quantization_parameters"]
    return np.float32(found["scales"][0]), int(found["zero_points"][0])


def _nchw(output):
    return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output
