"""A user's ONNX file as a network: static, cleaned, and with a PyTorch module where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from ...errors import SourceError
from ...zoo.spec import ModelSpec
from ..graph.onnx_files import clean_onnx, load_onnx
from ..graph.onnx_graph import OnnxNetwork
from ..graph.onnx_module import OnnxModule, check_onnx_module
from ..graph.onnx_operators.registry import OnnxError
from .network import Source, safe_name
from .shapes import make_spec, parse_shapes

if TYPE_CHECKING:
    from .shapes import InputOptions


def open_onnx(path: Path, options: InputOptions) -> Source:
    """The network of an ONNX file.

    Raises:
        SourceError: it is broken, or has sizes that nobody names; one line says which.
    """
    try:
        given = {} if options.shapes is None else parse_shapes(options.shapes)
        proto = clean_onnx(load_onnx(path, given))
    except OnnxError as error:
        raise SourceError(str(error)) from error
    shapes = {value.name: _shape(value)[1:] for value in proto.graph.input}
    if any(_shape(value)[:1] != (1,) for value in proto.graph.input):
        raise SourceError(f"{path}: its inputs have no batch of 1; give it with --input-shape")
    name = safe_name(path.stem)
    spec = make_spec(name, shapes, options)
    if not spec.inputs:
        _rename_input(proto.graph, spec.input_names[0])
    return Source(name, _network(proto, name, spec), spec, reference="onnxruntime")


def network_of(path: Path, name: str, spec: ModelSpec) -> OnnxNetwork:
    """The network of an ONNX file of our own making, whose inputs are the spec's.

    Raises:
        OnnxError: it is broken.
    """
    return _network(clean_onnx(load_onnx(path, {})), name, spec)


def _network(proto: onnx.ModelProto, name: str, spec: ModelSpec) -> OnnxNetwork:
    try:
        module: OnnxModule | None = OnnxModule(proto)
        check_onnx_module(proto, module)
        reason = ""
    except OnnxError as error:
        module, reason = None, str(error)
    network = OnnxNetwork(proto, module, reason)
    network.spec = spec  # type: ignore[assignment]
    network.name = name  # type: ignore[assignment]
    return network.eval()


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _rename_input(graph: onnx.GraphProto, name: str) -> None:
    """Every file of ours calls an image alike."""
    (value,) = graph.input
    old, value.name = value.name, name
    if old == name:
        return
    for node in graph.node:
        for index, each in enumerate(node.input):
            if each == old:
                node.input[index] = name
            elif each == name:
                node.input[index] = f"{name}_"
        for index, each in enumerate(node.output):
            if each == name:
                node.output[index] = f"{name}_"
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.name = f"{name}_"
