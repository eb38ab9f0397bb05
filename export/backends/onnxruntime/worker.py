"""ONNX Runtime in a process of its own: an ONNX file that somebody else may have made."""

import functools
import time

import numpy as np
import onnxruntime as ort


@functools.lru_cache(maxsize=1)
def _open(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(arguments, arrays):
    session = _open(arguments["model"])
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(arrays):
        raise ValueError(f"the file takes {len(names)} inputs, the manifest {len(arrays)}")
    inputs = [arrays[f"input{index}"] for index in range(len(arrays))]
    parts, seconds = [], []
    for index in range(len(inputs[0])):
        feeds = {name: each[index : index + 1] for name, each in zip(names, inputs)}
        start = time.perf_counter()
        parts.append(session.run(None, feeds))
        seconds.append(time.perf_counter() - start)
    outputs = {f"output{i}": np.concatenate(each) for i, each in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs
