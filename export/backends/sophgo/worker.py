"""tpu-mlir: ONNX to a file for a TPU by its compiler, and that file in its simulators.

``model_transform.py`` and its like import PyTorch, scikit-learn and transformers, and validate
after every step; here are the steps alone.
"""

import ctypes
import functools
import importlib
import importlib.abc
import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")

# Imported by the converter's modules, and called by none of the functions that are used here.
_NOT_CALLED = ("cv2", "onnxruntime", "onnxruntime_extensions", "onnxsim", "PIL", "plotly", "torch")
_BINS = 4096  # of a tensor's histogram
_CANDIDATES = 64  # thresholds among which the best is chosen
_PERCENTILE = 0.9999
_LEAST = 1e-5  # the compiler's own least threshold
_CMODELS = {  # the cv18xx have theirs in the runtime
    "bm1684x": "libcmodel_bm1684x.so",
    "bm1688": "libcmodel_bm1688.so",
    "cv184x": "libcmodel_cv184x.so",
}
_TOP, _TPU, _FINAL = "model.mlir", "model_tpu.mlir", "model_final.mlir"
_TABLE = "calibration_table"  # a path with a space would end an option of the compiler


class _StandIn(types.ModuleType):
    """A module of which every name is another, and every call decorates with nothing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _StandIn(name)

    def __call__(self, *arguments, **keywords):
        return lambda function: function


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in _NOT_CALLED:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, _StandIns())
import tpu_mlir  # it sets the paths of all that follows

_LIBRARIES = Path(tpu_mlir.__file__).parent / "lib"


class TpuMlirError(Exception):
    """The compiler's own words, one line."""


def convert(arguments, arrays):
    """Compile ``network`` for ``chip`` into the file ``out``.

    The ranges of int8, chosen by ``images``, are written into the file ``table``. The value
    ``final`` is the compiled network as text, ``outputs`` are the names of the file's outputs in
    the network's order.
    """
    settings = arguments["settings"]
    _to_top(arguments["network"], settings)
    if "images" in arrays:
        _calibrate(arrays["images"], settings)
        shutil.copyfile(_TABLE, arguments["table"])
    _lower(arguments["chip"], settings)
    _compile(arguments["out"])
    final = Path(_FINAL).read_text()
    (outputs,) = re.findall(r"module\.outputs = \[([^\]]*)\]", final)
    return {"final": final, "outputs": re.findall(r'"([^"]*)"', outputs)}, {}


def _to_top(network, settings):
    """Write the network in the compiler's own terms."""
    from tpu_mlir.python.utils.mlir_shell import top_opt_options
    from transform.OnnxConverter import OnnxConverter

    shape = settings["shape"]
    preprocessing = {
        "preprocess_list": None,
        "resize_dims": shape[2:],
        "keep_aspect_ratio": False,
        "keep_ratio_mode": "letterbox",
        "pad_value": 0,
        "pad_type": "center",
        "mean": settings["mean"],
        "scale": [1 / value for value in settings["std"]],
        "pixel_format": "gray" if shape[1] == 1 else "rgb",
        "channel_format": "nchw",
        "yuv_type": "",
    }
    converter = OnnxConverter("model", network, [shape], [], "", preprocessing, do_onnx_sim=False)
    converter.generate_mlir("model_origin.mlir")
    _optimize("model_origin.mlir", top_opt_options(), _TOP)


def _lower(chip, settings):
    """Choose types; the normalisation becomes part of the network."""
    from tpu_mlir.python.utils.mlir_shell import lowering_options

    options = lowering_options(
        settings["mode"],
        chip,
        cali_table=_TABLE if settings["mode"] == "INT8" else None,
        weight_name="model_tpu_weights.npz",
        fuse_preprocess=True,
        customization_format="GRAYSCALE" if settings["shape"][1] == 1 else "RGB_PLANAR",
    )
    _optimize(_TOP, options, _TPU)


def _compile(out):
    from tpu_mlir.python.utils.mlir_shell import codegen_options, tpu_ada_options, tpu_opt_options

    _optimize(_TPU, [*tpu_opt_options(), *tpu_ada_options()], _FINAL)
    compiled = "compiled" + Path(out).suffix
    _optimize(_FINAL, codegen_options(compiled), os.devnull)
    shutil.copyfile(compiled, out)


def _optimize(source, options, out):
    """Run the compiler's passes, whose options are written for a shell.

    It says why it fails in the lines before its last, which are notes and the stack.
    """
    words = [re.sub(r'"', "", option) for option in options if option]
    program = Path(tpu_mlir.__file__).parent / "bin" / "tpuc-opt"
    done = subprocess.run(
        [str(program), source, *words, "-o", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    sys.stdout.write(f"tpuc-opt {source} {words}\n" + re.sub(r".*\r", "", done.stdout))
    if done.returncode != 0:
        raise TpuMlirError(_reason(done.stdout, done.returncode))


def _reason(said, code):
    marked = re.findall(
        r"^.*?((?:error: |Assertion |Not Implemented|not support|not implemented|UNREACHABLE).*)$",
        said,
        re.MULTILINE | re.IGNORECASE,
    )
    if marked:
        return " ".join(marked[0].split())[:300]
    return f"tpuc-opt ended with {code}"


def _calibrate(images, settings):
    """Write into the table a threshold, and what was seen, of each tensor in float."""
    names, passes = _float_network(images, settings)
    low, high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for name, values in passes():
        low[name] = min(low[name], float(values.min()))
        high[name] = max(high[name], float(values.max()))
    peak = {name: max(-low[name], high[name], _LEAST) for name in names}
    counts = {name: np.zeros(_BINS, np.int64) for name in names}
    if settings["algorithm"] != "minmax":
        for name, values in passes():
            place = np.abs(values).ravel() * (_BINS / peak[name])
            place = np.minimum(place.astype(np.int32), _BINS - 1)
            counts[name] += np.bincount(place, minlength=_BINS)
    choose = _CHOICES[settings["algorithm"]]
    lines = ["# op_name    threshold    min    max"]
    for name in names:
        threshold = max(choose(counts[name]) * peak[name], _LEAST)
        ends = max(low[name], -threshold), min(high[name], threshold)
        lines.append(f"{name} {threshold:.7f} {ends[0]:.7f} {ends[1]:.7f}")
    Path(_TABLE).write_text("\n".join(lines) + "\n")


def _float_network(images, settings):
    """The names of the tensors, and a function that goes through them all, image by image."""
    import pymlir

    pymlir.set_mem_mode("force_value_mem")
    module = pymlir.module()
    module.load(_TOP)
    names, (source,) = list(module.all_tensor_names), module.input_names
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))

    def passes():
        for image in images:
            values = (image[None].astype(np.float32) - mean) / std
            module.set_tensor(source, values, list(values.shape))
            module.invoke()
            for name in names:
                yield name, module.get_tensor(name)

    return names, passes


def _least_error(counts):
    """The share of the peak at which 127 steps lose the least; clipped values lose as well."""
    middles = (np.arange(_BINS) + 0.5) / _BINS
    best, least = 1.0, np.inf
    for number in range(_CANDIDATES // 16, _CANDIDATES + 1):
        share = number / _CANDIDATES
        step = share / 127
        error = float(
            (counts * (np.minimum(np.round(middles / step), 127) * step - middles) ** 2).sum()
        )
        if error < least:
            best, least = share, error
    return best


def _percentile(counts):
    reached = np.cumsum(counts)
    return (int(np.searchsorted(reached, _PERCENTILE * reached[-1])) + 1) / _BINS


_CHOICES = {"mse": _least_error, "percentile": _percentile, "minmax": lambda counts: 1.0}


def run(arguments, arrays):
    """Raw images through the chip's simulator, one by one."""
    path = os.path.join(arguments["folder"], arguments["files"][0])
    network = _open(path, arguments["chip"])
    settings = arguments["settings"]
    (source,) = network.inputs
    outputs = {output.name: output for output in network.outputs}
    parts, seconds = [], []
    for image in arrays["images"]:
        source.data.reshape(-1)[:] = image.ravel()
        start = time.perf_counter()
        network.forward()
        seconds.append(time.perf_counter() - start)
        parts.append([_values(outputs[name]) for name in settings["outputs"]])
    shapes = settings["output_shapes"]
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, {
        f"output{index}": np.stack(values).reshape(-1, *shape[1:])
        for index, (values, shape) in enumerate(zip(zip(*parts), shapes))
    }


@functools.lru_cache(maxsize=1)
def _open(path, chip):
    """The network, with ``inputs``, ``outputs`` and ``forward``."""
    if chip not in _CMODELS:
        return importlib.import_module("pyruntime_cvi").Model(path, output_all_tensors=False)
    # The runtime takes whichever chip's simulator is loaded first, by default the BM1684X's.
    ctypes.CDLL(str(_LIBRARIES / _CMODELS[chip]), ctypes.RTLD_GLOBAL)
    loaded = re.findall(r"libcmodel_\w+\.so", Path("/proc/self/maps").read_text())
    if {*loaded} != {_CMODELS[chip]}:
        raise TpuMlirError("a process simulates one chip alone")
    model = importlib.import_module("pyruntime_bm").Model(path, 0, "")
    return _Network(model)


class _Network:
    """A model's only network, with the model, which owns its memory."""

    def __init__(self, model):
        self.model, self.network = model, model.Net(model.networks[0])
        self.inputs, self.outputs = self.network.inputs, self.network.outputs
        self.forward = self.network.forward


def _values(output):
    """What a tensor holds, in float where it is of fewer bits."""
    if output.dtype == "bf16":
        return (output.data.astype(np.uint32) << 16).view(np.float32).copy()
    if output.data.dtype in (np.int8, np.uint8):
        return (output.data.astype(np.float32) - output.qzero_point) * np.float32(output.qscale)
    if output.data.dtype == np.float16:
        return output.data.astype(np.float32)
    return output.data.copy()
