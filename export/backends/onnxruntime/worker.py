"""ONNX Runtime in a process of its own: an ONNX file that somebody else may have made."""

import time

import numpy as np
import onnxruntime as ort


def run(arguments, arrays):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(arguments["model"], options, providers=["CPUExecutionProvider"])
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
