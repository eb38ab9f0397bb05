"""Equal forms of what PPLNN's x86 engine computes wrongly or dies of.

Seen on builds of ppl.nn 76ed936 with ppl.kernel.cpu f12d451 (FMA and AVX-512 alike), on the
networks of ``examples.py`` and their neighbours:

| in the file | PPLNN | written instead |
|---|---|---|
| Pad with an empty value | all zeros | Pad with 0 |
| Abs | all zeros | Max of x and -x |
| Split without sizes | all zeros | Split with equal ones |
| an operand with fewer axes than the other | wrong values | its axes of 1 are written out |
| Mul, Add, Sub of x and x | SIGSEGV where nothing else reads x | x ** 2, x * 2, x * 0 |
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import (
    add_constant,
    constant_of,
    onnx_pass,
    replace_node,
    static_shape,
)

_BROADCASTING = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where")
_TWICE = {"Mul": ("Pow", 2.0), "Add": ("Mul", 2.0), "Sub": ("Mul", 0.0)}


@onnx_pass
def rewrite_forms(model: ir.Model) -> None:
    """A copy with the forms that PPLNN computes rightly; it answers alike.

    Args:
        model: a static network of float32, with the shapes of its tensors.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Abs":
            _replace_absolute(node)
        elif node.op_type == "Pad" and len(node.inputs) == 3 and node.inputs[2] is None:
            node.replace_input_with(2, add_constant(graph, f"{node.name}.value", np.float32(0)))
        elif node.op_type == "Split":
            _write_sizes(graph, node)
        elif node.op_type in _TWICE and node.inputs[0] is node.inputs[1]:
            _write_once(graph, node)
    for node in list(graph):
        if node.op_type in _BROADCASTING:
            _write_axes(graph, node)


def _replace_absolute(node: ir.Node) -> None:
    tape = ir.tape.Tape()
    negative = tape.op("Neg", node.inputs, name=f"{node.name}/negative")
    largest = tape.op("Max", [node.inputs[0], negative], name=node.name)
    replace_node(node, tape.nodes, [largest])


def _write_sizes(graph: ir.Graph, node: ir.Node) -> None:
    """An attribute before opset 13, an input from there on."""
    if len(node.inputs) > 1 or "split" in node.attributes:
        return
    shapes = [static_shape(value) for value in node.outputs]
    axis = node.attributes.get_int("axis", 0)
    sizes = [shape[axis] for shape in shapes if shape]
    if graph.opset_imports[""] < 13:
        node.attributes.add(ir.AttrInt64s("split", sizes))
    else:
        node.resize_inputs(2)
        values = np.array(sizes, np.int64)
        node.replace_input_with(1, add_constant(graph, f"{node.name}.sizes", values))


def _write_once(graph: ir.Graph, node: ir.Node) -> None:
    kind, value = _TWICE[node.op_type]
    operand = add_constant(graph, f"{node.name}.operand", np.float32(value))
    tape = ir.tape.Tape()
    result = tape.op(kind, [node.inputs[0], operand], name=node.name)
    replace_node(node, tape.nodes, [result])


def _write_axes(graph: ir.Graph, node: ir.Node) -> None:
    """Give every operand the rank of the result; what is computed is reshaped by a node."""
    rank = len(static_shape(node.outputs[0]) or ())
    for index, value in enumerate(node.inputs):
        shape = static_shape(value)
        if shape is None or len(shape) >= rank:
            continue
        full = np.array([1] * (rank - len(shape)) + list(shape), np.int64)
        name = f"{node.name or node.outputs[0].name}.operand{index}"
        array = constant_of(value)
        if array is not None:
            operand = add_constant(graph, name, array.reshape(full))
        else:
            sizes = add_constant(graph, f"{name}.shape", full)
            reshape = ir.node("Reshape", [value, sizes], name=f"{name}/Reshape")
            graph.insert_before(node, reshape)
            (operand,) = reshape.outputs
        node.replace_input_with(index, operand)
