"""libtorch in a process of its own: a TorchScript program that somebody else may have written."""

import time
import warnings

import numpy as np
import torch


@torch.inference_mode()
def run(arguments, arrays):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # deprecated, and still what some toolchains read
    module = torch.jit.load(arguments["model"], map_location="cpu")
    inputs = [arrays[f"input{index}"] for index in range(len(arrays))]
    parts, seconds = [], []
    for index in range(len(inputs[0])):
        feeds = [torch.from_numpy(each[index : index + 1]) for each in inputs]
        start = time.perf_counter()
        answer = module(*feeds)
        answers = answer if isinstance(answer, (tuple, list)) else (answer,)
        seconds.append(time.perf_counter() - start)
        parts.append([each.numpy() for each in answers])
    outputs = {f"output{i}": np.concatenate(each) for i, each in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs
