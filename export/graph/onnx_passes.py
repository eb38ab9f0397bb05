"""What several targets ask of an ONNX graph, or have to change in it."""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, helper, numpy_helper

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


def known_shapes(proto: ModelProto) -> dict[str, list[int]]:
    """Static shapes of values by name, but for those whose shape the file does not say."""
    graph = proto.graph
    return {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def duplicate_shared_initializers(proto: ModelProto) -> ModelProto:
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


def pool_means(proto: ModelProto) -> ModelProto:
    """A copy in which means of maps over height and width are GlobalAveragePool.

    PyTorch's exporter writes ``AdaptiveAvgPool2d(1)`` and ``mean((2, 3))`` as ReduceMean, of which
    MNN's quantiser dies.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    shapes = known_shapes(proto)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "ReduceMean" or len(shapes.get(node.input[0], [])) != 4:
            continue
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = given.get("axes", constants.get(node.input[1]) if node.input[1:] else None)
        if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
            continue
        (result,), keeps = node.output, given.get("keepdims", 1)
        pooled = result if keeps else f"{result}/map"
        fixes = [helper.make_node("GlobalAveragePool", node.input[:1], [pooled], node.name)]
        if not keeps:
            fixes.append(helper.make_node("Flatten", [pooled], [result], f"{node.name}/flatten"))
        place = list(graph.node).index(node)
        graph.node.remove(node)
        for offset, fix in enumerate(fixes):
            graph.node.insert(place + offset, fix)
    return copy


def round_weights(proto: ModelProto) -> ModelProto:
    """A copy whose weights, still float32, are the nearest of float16's numbers.

    For converters that cut off the lower digits, as MNN does: that costs 10 to 15 dB.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    weights = {name for n in copy.graph.node if n.op_type in _MULTIPLYING for name in n.input[1:]}
    for tensor in copy.graph.initializer:
        if tensor.name in weights:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy
