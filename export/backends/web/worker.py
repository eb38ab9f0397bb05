"""ONNX Runtime Web under Node.js: the WebAssembly that browsers run, one process for all images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.mjs")


def run(arguments, arrays):
    """Images go in through a pipe, one at a time; the answers come back as raw files."""
    images, settings = arrays["images"], arguments["settings"]
    job = {
        "library": arguments["library"],
        "model": os.path.join(arguments["folder"], arguments["files"][0]),
        "shapes": [[1, *each.shape[1:]] for each in _inputs(images[:1], settings)],
        "count": len(images),
        "out": os.getcwd(),
    }
    node = shutil.which("node")
    command = [node, _SCRIPT, json.dumps(job)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            for index in range(len(images)):
                for each in _inputs(images[index : index + 1], settings):
                    process.stdin.write(np.ascontiguousarray(each, "<f4").data)
            process.stdin.close()
        except BrokenPipeError:  # it has ended, and said why
            pass
        status = process.wait()
    if status:
        raise RuntimeError(_reason(job["out"], status))
    with open("answer.json") as file:
        answer = json.load(file)
    outputs = {
        f"output{index}": _read(f"output{index}.bin", each, len(images))
        for index, each in enumerate(answer["outputs"])
    }
    return {"ms_per_image": float(np.median(answer["ms"]))}, outputs


def _inputs(images, settings):
    """Float32 arrays: normalised images ``[N, C, H, W]``, or the fields of records."""
    if images.dtype.names is not None:
        return [images[name] for name in images.dtype.names]
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return [(images - mean) / std]


def _read(path, output, count):
    dtype = {"bool": "uint8"}.get(output["type"], output["type"])
    first, *rest = output["dims"] or [1]
    return np.fromfile(path, dtype).reshape(count * first, *rest)


def _reason(folder, status):
    path = os.path.join(folder, "error.txt")
    if not os.path.exists(path):
        return f"Node.js ended with status {status}"
    with open(path) as file:
        return file.read()
