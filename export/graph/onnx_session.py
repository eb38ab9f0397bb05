"""ONNX Runtime as edgeark opens it: on the CPU, on one thread, and without telemetry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import onnx
from onnx import ModelProto

from ...core.scratch import scratch_folder
from ...core.settings import NO_TELEMETRY

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Optimization = Literal["none", "basic", "all"]

_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "all": "ORT_ENABLE_ALL",
}
_PROTOBUF_LIMIT = 2**31 - 1


def open_session(
    network: ModelProto | Path,
    *,
    optimization: Optimization = "all",
    optimized: Path | None = None,
    quiet: bool = False,
) -> InferenceSession:
    """A session whose answers do not depend on the number of cores.

    Args:
        network: a file, or a network in memory of any size.
        optimization: of the graph, before it runs.
        optimized: where to write the optimized graph.
        quiet: log nothing; errors are still raised.
    """
    os.environ.update(NO_TELEMETRY)  # read at import
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimization])
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if quiet:
        options.log_severity_level = 4
    with scratch_folder("onnx") as folder:
        content = network if isinstance(network, Path) else _serialize(network, folder)
        given = str(content) if isinstance(content, Path) else content
        return ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def _serialize(proto: ModelProto, folder: Path) -> bytes | Path:
    if proto.ByteSize() < _PROTOBUF_LIMIT:
        return proto.SerializeToString()
    path = folder / "network.onnx"
    onnx.save_model(proto, str(path), save_as_external_data=True)
    return path
