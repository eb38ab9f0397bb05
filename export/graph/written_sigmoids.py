"""Activations that are written out by exponentials, as the operators that ONNX has for them.

``1 / (1 + exp(-x))`` is a sigmoid, ``y / (1 + exp(-x))`` a product with one, ``log(1 + exp(x))`` a
softplus, and ``exp(x) / exp(x).sum(dim)`` a softmax. They are equal where nothing overflows; and an
exponential spreads values over so many orders of magnitude that int8 leaves nothing of them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .onnx_passes import constant_of, made_by, onnx_pass, replace_node, static_shape

_OPSET_OF_SOFTMAX = 13  # before, it flattens what lies behind its axis


@onnx_pass
def read_written_activations(model: ir.Model) -> None:
    """A copy with Sigmoid, Softplus and Softmax for their written forms."""
    opset = model.opset_imports.get("", 0)
    for node in list(model.graph):
        if node.op_type == "Log":
            exponent = _of_one_plus_exp(node.inputs[0])
            if exponent is not None:
                _replace(node, [("Softplus", [exponent])])
        elif node.op_type in ("Div", "Reciprocal"):
            _read_quotient(node, opset)


def _read_quotient(node: ir.Node, opset: int) -> None:
    divisor = node.inputs[-1]
    exponent = _of_one_plus_exp(divisor)
    if exponent is not None:
        negated = made_by(exponent, "Neg")
        steps = [("Sigmoid", [negated.inputs[0]])] if negated else []
        steps = steps or [("Neg", [exponent]), ("Sigmoid", [None])]
        numerator = None if node.op_type == "Reciprocal" else node.inputs[0]
        if numerator is not None and not _is_one(numerator):
            steps.append(("Mul", [numerator, None]))
        _replace(node, steps)
        return
    total = made_by(divisor, "ReduceSum")
    top = made_by(node.inputs[0], "Exp") if node.op_type == "Div" else None
    if total is None or top is None or total.inputs[0] is not node.inputs[0]:
        return
    shape, axes = static_shape(top.inputs[0]), _axes(total)
    if len(axes) != 1 or not total.attributes.get_int("keepdims", 1):
        return
    is_last = axes[0] in (-1, len(shape or ()) - 1)
    if opset >= _OPSET_OF_SOFTMAX or is_last:
        _replace(node, [("Softmax", [top.inputs[0]])], {"axis": -1 if is_last else axes[0]})


def _of_one_plus_exp(value: ir.Value | None) -> ir.Value | None:
    """The exponent, where a value is ``1 + exp(exponent)``."""
    plus = made_by(value, "Add")
    if plus is None:
        return None
    for one, power in (plus.inputs[:2], plus.inputs[1::-1]):
        exp = made_by(power, "Exp")
        if exp is not None and _is_one(one):
            return exp.inputs[0]
    return None


def _is_one(value: ir.Value | None) -> bool:
    array = constant_of(value)
    return array is not None and array.size == 1 and array.ndim <= 1 and bool(np.all(array == 1))


def _axes(node: ir.Node) -> list[int]:
    given = constant_of(node.inputs[1]) if node.inputs[1:] else None
    return list(node.attributes.get_ints("axes", [])) if given is None else given.tolist()


def _replace(
    node: ir.Node,
    steps: list[tuple[str, list[ir.Value | None]]],
    attributes: dict[str, int] | None = None,
) -> None:
    """By operators one behind the other; None among the inputs is what the last one made."""
    tape, made = ir.tape.Tape(), None
    for op_type, inputs in steps:
        name = f"{node.name or node.outputs[0].name}/{op_type}"
        given = [made if value is None else value for value in inputs]
        made = tape.op(op_type, given, attributes or {}, name=name)
    assert made is not None
    replace_node(node, tape.nodes, [made])
