"""What several targets ask of an ONNX graph, or have to change in it."""

from __future__ import annotations

import math

from onnx import ModelProto

_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def count_macs(proto: ModelProto) -> dict[str, int]:
    """Multiplications by node; nodes that multiply no weights are left out."""
    graph = proto.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    macs = {}
    for node in graph.node:
        if node.op_type not in _MULTIPLYING:
            continue
        first, second = (shapes[name] for name in node.input[:2])
        output = shapes[node.output[0]]
        if node.op_type == "Conv":  # each weight meets each pixel of the output once
            macs[node.name] = math.prod(second) * math.prod(output[2:])
        elif node.op_type == "ConvTranspose":  # ... of the input
            macs[node.name] = math.prod(second) * math.prod(first[2:])
        else:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            macs[node.name] = math.prod(output) * first[-2 if transposed else -1]
    return macs


def unshare(proto: ModelProto) -> ModelProto:
    """A copy without the nodes by which equal weights are shared.

    The exporter keeps one of several equal initializers and reads it through Identity nodes; some
    toolkits look for a convolution's weights among the initializers alone.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    shared = [n for n in graph.node if n.op_type == "Identity" and n.input[0] in initializers]
    for node in shared:
        own = graph.initializer.add()
        own.CopyFrom(initializers[node.input[0]])
        own.name = node.output[0]
        graph.node.remove(node)
    return copy
