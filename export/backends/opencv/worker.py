"""OpenCV's ``dnn`` module, 4.x and 5.x: reads ONNX itself, normalises images itself."""

from __future__ import annotations

import functools
import os
import shutil
import time

import cv2
import numpy as np


def convert(arguments, arrays):
    """Only check that the importer takes the file: OpenCV runs the ONNX as it is."""
    cv2.dnn.readNetFromONNX(arguments["onnx"])
    shutil.copyfile(arguments["onnx"], arguments["out"])
    return {}, {}


def run(arguments, arrays):
    settings = arguments["settings"]
    network = _open(os.path.join(arguments["folder"], arguments["files"][0]))
    set_inputs = _set_tensors if arrays["images"].dtype.names else _image_setter(settings)
    parts, seconds = [], []
    for sample in arrays["images"]:
        start = time.perf_counter()
        set_inputs(network, sample)
        answers = network.forward(settings["outputs"])
        seconds.append(time.perf_counter() - start)
        parts.append([np.array(answer) for answer in answers])  # the network reuses its memory
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _open(path):
    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(path)
    network.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)  # not whatever this build prefers
    network.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    network.enableWinograd(False)  # it costs 4.x up to a digit of accuracy; 5.x has none
    return network


def _image_setter(settings):
    params = cv2.dnn.Image2BlobParams()
    params.mean = settings["mean"]
    params.scalefactor = [1 / value for value in settings["std"]]

    def set_image(network, pixels):
        image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        network.setInput(cv2.dnn.blobFromImageWithParams(image, params))

    return set_image


def _set_tensors(network, record):
    for name in record.dtype.names:
        network.setInput(np.ascontiguousarray(record[name][None]), name)
