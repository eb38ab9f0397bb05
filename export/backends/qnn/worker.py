"""ONNX Runtime with Qualcomm's execution provider: the HTP's emulator compiles and runs a file."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort
import onnxruntime_qnn

_PROVIDER = "QNNExecutionProvider"
_TRACE = "qnn_op_trace.json"
_AROUND = ("QuantizeLinear", "DequantizeLinear")  # they follow what stands between them


def convert(arguments, arrays):
    """An ONNX file as the context binary of a chip, in an ONNX file around it.

    ``operators`` are the HTP's, in order, each with the nodes of the given file that it is made of.
    """
    out = arguments["out"]
    entries = {
        "ep.context_enable": "1",
        "ep.context_embed_mode": "1",
        "ep.context_file_path": out,
    }
    options = {"enable_framework_op_trace": "1", "framework_op_trace_dir": os.getcwd()}
    try:
        _open_session(arguments["onnx"], {**arguments["options"], **options}, entries)
    except Exception:
        if left := _read_trace().get("unsupported_nodes"):
            for node in left:
                sys.stdout.write(f"not on the HTP: {node['node_name']}: {_words(node)}\n")
            raise RuntimeError(_reason(left)) from None
        raise
    if not os.path.exists(out):
        raise RuntimeError("no context binary was written")
    trace = _read_trace()
    operators = [
        {
            "name": mapping["dst_name"],
            "op": mapping["dst_qnn_op_type"],
            "nodes": [each["name"] for each in mapping["sources"] if each["type"] == "OP"],
        }
        for graph in trace["subgraph_traces"]
        for mapping in graph["op_mappings"]
    ]
    return {"operators": operators, "graphs": len(trace["subgraph_traces"])}, {}


def run(arguments, arrays):
    settings, images = arguments["settings"], arrays["images"]
    path = os.path.join(arguments["folder"], arguments["files"][0])
    session = _open_once(path, json.dumps(arguments["options"]))
    names = [entry.name for entry in session.get_inputs()]
    order = settings["outputs"]
    parts, seconds = [], []
    for index in range(len(images)):
        inputs = dict(zip(names, _inputs(images[index : index + 1], settings)))
        start = time.perf_counter()
        parts.append(session.run(order, inputs))
        seconds.append(time.perf_counter() - start)
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


@functools.lru_cache(maxsize=1)
def _open_once(path, options):
    return _open_session(path, json.loads(options), {})


def _open_session(path, provider_options, entries):
    """A session with every node on the HTP, or an error."""
    with contextlib.suppress(Exception):  # it is registered already
        ort.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for key, value in {"session.disable_cpu_ep_fallback": "1", **entries}.items():
        options.add_session_config_entry(key, value)
    backend = {"backend_path": onnxruntime_qnn.get_qnn_htp_path()}
    options.add_provider_for_devices(devices[:1], {**backend, **provider_options})
    return ort.InferenceSession(path, options)


def _inputs(images, settings):
    """Float32 arrays: normalised images ``[N, C, H, W]``, or the fields of records."""
    if images.dtype.names is not None:
        return [images[name] for name in images.dtype.names]
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return [(images - mean) / std]


def _reason(nodes):
    """What the provider leaves to the CPU, and the first of its reasons."""
    own = [node for node in nodes if node["op_type"] not in _AROUND] or nodes
    kinds = ", ".join(sorted({node["op_type"] for node in own}))
    return f"not on the HTP: {kinds}; first {own[0]['node_name']}: {_words(own[0])}"


def _words(node):
    return " ".join(node["reason"].split()) or "it does not say why"


def _read_trace():
    """What became of each node; empty where nothing was composed."""
    if not os.path.exists(_TRACE):
        return {}
    with open(_TRACE) as file:
        return json.load(file)
