"""What several targets ask of an ONNX graph, or have to change in it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

import numpy as np
import onnx_ir as ir
from onnx import ModelProto, shape_inference
from onnx_ir.passes.common import RemoveUnusedNodesPass

P = ParamSpec("P")
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def onnx_pass(
    change: Callable[Concatenate[ir.Model, P], None],
) -> Callable[Concatenate[ModelProto, P], ModelProto]:
    """Make of a change to an :class:`onnx_ir.Model` a function from file to file.

    What nothing reads any more is dropped, and the shapes of new values are noted. The given proto
    stays as it is.
    """

    @functools.wraps(change)
    def changed(proto: ModelProto, *args: P.args, **kwargs: P.kwargs) -> ModelProto:
        model = ir.from_proto(proto)
        change(model, *args, **kwargs)
        RemoveUnusedNodesPass()(model)
        written = ir.to_proto(model)
        weights = {tensor.name for tensor in written.graph.initializer}
        described = [v for v in written.graph.value_info if v.name not in weights]
        del written.graph.value_info[:]  # old converters do not expect weights there
        written.graph.value_info.extend(described)
        return shape_inference.infer_shapes(written, data_prop=True)

    return changed


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape; None where the file does not say it."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """A value's numbers, where the file holds them: an initializer, or a Constant node."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that computes a value, if it is of that type."""
    maker = None if value is None else value.producer()
    return maker if maker is not None and maker.op_type == op_type else None


def add_constant(graph: ir.Graph, name: str, values: np.ndarray | np.generic) -> ir.Value:
    """A new initializer."""
    array = np.asarray(values)
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    graph.register_initializer(value)
    return value


def replace_node(node: ir.Node, nodes: Sequence[ir.Node], outputs: Sequence[ir.Value]) -> None:
    """Put nodes in a node's place; their ``outputs`` take over its outputs' names and readers."""
    assert isinstance(node.graph, ir.Graph)
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], nodes, node.outputs, outputs)


def count_macs(proto: ModelProto) -> dict[str, int]:
    """Multiplications by node; nodes that multiply no weights, or of unknown size, are left out."""
    macs = {}
    for node in ir.from_proto(proto).graph:
        if node.op_type not in _MULTIPLYING:
            continue
        first, second = (static_shape(value) for value in node.inputs[:2])
        output = static_shape(node.outputs[0])
        if first is None or second is None or output is None:
            continue
        name = node.name or ""
        if node.op_type == "Conv":  # each weight meets each pixel of the output once
            macs[name] = math.prod(second) * math.prod(output[2:])
        elif node.op_type == "ConvTranspose":  # ... of the input
            macs[name] = math.prod(second) * math.prod(first[2:])
        else:
            is_transposed = bool(node.attributes.get_int("transA", 0))
            macs[name] = math.prod(output) * first[-2 if is_transposed else -1]
    return macs


@onnx_pass
def duplicate_shared_initializers(model: ir.Model) -> None:
    """A copy without the nodes by which equal weights are shared.

    The exporter keeps one of several equal initializers and reads it through Identity nodes; some
    toolkits look for a convolution's weights among the initializers alone.
    """
    for node in list(model.graph):
        if node.op_type == "Identity" and (array := constant_of(node.inputs[0])) is not None:
            own = add_constant(model.graph, f"{node.outputs[0].name}", array)
            replace_node(node, [], [own])


@onnx_pass
def pool_means(model: ir.Model) -> None:
    """A copy in which means of maps over height and width are GlobalAveragePool.

    PyTorch's exporter writes ``AdaptiveAvgPool2d(1)`` and ``mean((2, 3))`` as ReduceMean, of which
    MNN's quantiser dies.
    """
    for node in list(model.graph):
        if node.op_type != "ReduceMean" or len(static_shape(node.inputs[0]) or ()) != 4:
            continue
        given = constant_of(node.inputs[1]) if node.inputs[1:] else None
        axes = node.attributes.get_ints("axes", []) if given is None else given.tolist()
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        tape = ir.tape.Tape()
        result = tape.op("GlobalAveragePool", node.inputs[:1], name=node.name)
        if not node.attributes.get_int("keepdims", 1):
            result = tape.op("Flatten", [result], name=f"{node.name}/flatten")
        replace_node(node, tape.nodes, [result])


@onnx_pass
def separate_group_biases(model: ir.Model) -> None:
    """A copy in which the bias of each grouped ConvTranspose is an Add behind it.

    ONNX Runtime's quantiser has a scale for each filter of a group, and wants as many biases.
    """
    for node in list(model.graph):
        is_grouped = node.attributes.get_int("group", 1) > 1
        if node.op_type != "ConvTranspose" or not is_grouped or not node.inputs[2:]:
            continue
        bias, shape = constant_of(node.inputs[2]), static_shape(node.outputs[0])
        if bias is None or shape is None:
            continue
        shaped = bias.reshape(-1, *[1] * (len(shape) - 2))
        added = add_constant(model.graph, f"{node.name}/bias", shaped)
        tape = ir.tape.Tape()
        plain = tape.op("ConvTranspose", node.inputs[:2], node.attributes, name=node.name)
        result = tape.op("Add", [plain, added], name=f"{node.name}/add")
        replace_node(node, tape.nodes, [result])


@onnx_pass
def multiply_by_constants(model: ir.Model) -> None:
    """A copy in which a constant matrix is the second factor of a product: ``(x' w')'`` of ``w x``.

    ONNX Runtime's quantiser has a scale for each column of a matrix, of which the first factor may
    not have several: the file cannot be run.
    """
    for node in list(model.graph):
        if node.op_type != "MatMul" or constant_of(node.inputs[1]) is not None:
            continue
        matrix, shape = constant_of(node.inputs[0]), static_shape(node.outputs[0])
        given = static_shape(node.inputs[1])
        if matrix is None or given is None or shape is None or min(matrix.ndim, len(given)) < 2:
            continue
        name = node.name or node.outputs[0].name
        turned = np.ascontiguousarray(matrix.swapaxes(-1, -2))
        weight = add_constant(model.graph, f"{name}/turned", turned)
        tape = ir.tape.Tape()
        perm = {"perm": _last_two(len(given))}
        x = tape.op("Transpose", [node.inputs[1]], perm, name=f"{name}/x")
        product = tape.op("MatMul", [x, weight], name=node.name)
        back = {"perm": _last_two(len(shape))}
        result = tape.op("Transpose", [product], back, name=f"{name}/back")
        replace_node(node, tape.nodes, [result])


def _last_two(rank: int) -> list[int]:
    """The axes, with the last two exchanged."""
    return [*range(rank - 2), rank - 1, rank - 2]


@onnx_pass
def round_weights(model: ir.Model) -> None:
    """A copy whose weights, still float32, are the nearest of float16's numbers.

    For converters that cut off the lower digits, as MNN does: that costs 10 to 15 dB.
    """
    for value in model.graph.initializers.values():
        is_weight = any(use.node.op_type in _MULTIPLYING and use.idx for use in value.uses())
        array = constant_of(value)
        if is_weight and array is not None:
            rounded = array.astype(np.float16).astype(np.float32)
            value.const_value = ir.tensor(rounded, name=value.name)
