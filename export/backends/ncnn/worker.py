"""pnnx, which makes ncnn's files of a TorchScript trace, and ncnn's runtime on the CPU."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import shutil
import subprocess
import time

import ncnn
import numpy as np

_PROGRAM = "pnnx.exe" if os.name == "nt" else "pnnx"
_OUTPUT = re.compile(r"out(\d+)")  # as pnnx names them, in the network's order
_SIDE_FILES = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")  # pnnx writes them always


def convert(arguments, arrays):
    """TorchScript to ``.param`` and ``.bin``; whether ncnn takes them, since pnnx ends with 0."""
    param, weights = "model.ncnn.param", "model.ncnn.bin"
    shape = ",".join(str(n) for n in arguments["shape"])
    command = [_find_pnnx(), arguments["torchscript"], f"inputshape=[{shape}]f32"]
    command += [f"fp16={int(arguments['fp16'])}", f"ncnnparam={param}", f"ncnnbin={weights}"]
    command += [f"{name}={name}" for name in _SIDE_FILES]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    for name in (param, weights):
        if not os.path.exists(name):
            raise RuntimeError(f"pnnx wrote no {name}")
    network = _load(param, weights, arguments["fp16"])
    # ncnn's order is that of computation, and what nothing reads is an output to it.
    names = sorted(filter(_OUTPUT.fullmatch, network.output_names()), key=_number)
    for name in (param, weights):
        shutil.copyfile(name, os.path.join(arguments["out"], name))
    return {"input": network.input_names()[0], "outputs": names}, {}


def run(arguments, arrays):
    settings = arguments["settings"]
    paths = [os.path.join(arguments["folder"], name) for name in arguments["files"]]
    network = _open(*paths, arguments["precision"] == "float16")
    parts, seconds = [], []
    for pixels in arrays["images"]:
        start = time.perf_counter()
        parts.append(_forward(network, _normalized(pixels, settings), settings))
        seconds.append(time.perf_counter() - start)
    outputs = {f"output{i}": np.stack(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


def _find_pnnx():
    """The program beside the Python package, which itself wants a PyTorch."""
    (folder,) = importlib.util.find_spec("pnnx").submodule_search_locations
    return os.path.join(folder, _PROGRAM)


def _number(name):
    return int(_OUTPUT.fullmatch(name)[1])


@functools.lru_cache(maxsize=1)
def _open(param, weights, fp16):
    return _load(param, weights, fp16)


def _load(param, weights, fp16):
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_fp16_storage = network.opt.use_fp16_packed = fp16
    network.opt.use_fp16_arithmetic = fp16
    if network.load_param(param) != 0:
        raise RuntimeError("ncnn cannot read the network that pnnx wrote")
    if network.load_model(weights) != 0:
        raise RuntimeError("ncnn cannot read the weights that pnnx wrote")
    return network


def _normalized(pixels, settings):
    """A pixels ``[C, H, W]`` uint8 as ncnn's float32."""
    pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    height, width, _ = pixels.shape
    kind = getattr(ncnn.Mat.PixelType, settings["pixel_type"])
    image = ncnn.Mat.from_pixels(pixels, kind, width, height)
    image.substract_mean_normalize(settings["mean_vals"], settings["norm_vals"])
    return image


def _forward(network, image, settings):
    """One array an output, without a batch axis: ncnn has none.

    Nor does it keep every axis of length 1, of which it has none where a tensor is one number.
    """
    extractor = network.create_extractor()
    extractor.input(settings["input"], image)
    answers = []
    shapes = settings.get("shapes") or [None] * len(settings["outputs"])  # of an older export
    for name, shape in zip(settings["outputs"], shapes):
        status, answer = extractor.extract(name)
        if status != 0:
            raise RuntimeError(f"ncnn cannot compute {name}: status {status}")
        value = np.array(answer)
        fits = shape is not None and value.size == math.prod(shape)
        answers.append(value.reshape(shape) if fits else value)
    return answers
