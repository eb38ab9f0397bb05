"""GELU in the form that rknn-toolkit2 2.5.0 reads: ``(x * 0.5) * (erf(x / sqrt(2)) + 1)``.

Of others, as ``x * (0.5 * (1 + erf(x * 0.7071)))``, it leaves the error function on the CPU.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.onnx_passes import add_constant, constant_of, made_by, onnx_pass, replace_node


@onnx_pass
def order_gelu(model: ir.Model) -> None:
    """A copy in which each product of a number, x and one more than an error function has it."""
    for node in list(model.graph):
        found = _read(node) if node.op_type == "Mul" else None
        if found is None:
            continue
        x, half, one, root = found
        name = node.name or node.outputs[0].name or "gelu"
        divisor = add_constant(model.graph, f"{name}/root", root)
        tape = ir.tape.Tape()
        halved = tape.op("Mul", [x, half], name=f"{name}/half")
        erf = tape.op("Erf", [tape.op("Div", [x, divisor], name=f"{name}/scaled")])
        result = tape.op("Mul", [halved, tape.op("Add", [erf, one], name=f"{name}/add")], name=name)
        replace_node(node, tape.nodes, [result])


def _read(node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value, np.ndarray] | None:
    """The input, the half, the one and the divisor of the input of the error function."""
    for product, last in (node.inputs, node.inputs[::-1]):
        inner = made_by(product, "Mul")
        factors = [last, *(inner.inputs if inner else ())]
        numbers = [f for f in factors if f is not None and _is_number(f)]
        sums = [plus for f in factors if (plus := made_by(f, "Add")) is not None]
        if len(factors) != 3 or len(numbers) != 1 or not sums:
            continue
        for plus in sums:
            others = [f for f in factors if f not in (numbers[0], plus.outputs[0])]
            for erf, one in (plus.inputs, plus.inputs[::-1]):
                root = _root(made_by(erf, "Erf"), others[0])
                if root is not None and one is not None and _is_number(one) and others[0]:
                    return others[0], numbers[0], one, root
    return None


def _root(erf: ir.Node | None, x: ir.Value | None) -> np.ndarray | None:
    """By what ``x`` is divided in front of the error function."""
    scaled = None if erf is None else erf.inputs[0]
    maker = None if scaled is None else scaled.producer()
    if maker is None or maker.op_type not in ("Div", "Mul") or x not in maker.inputs:
        return None
    if maker.op_type == "Div":
        values = constant_of(maker.inputs[1])
        return values if values is not None and values.size == 1 else None
    numbers = [constant_of(value) for value in maker.inputs if value is not x]
    if len(numbers) != 1 or numbers[0] is None or numbers[0].size != 1:
        return None
    return (1 / numbers[0].astype(np.float64)).astype(numbers[0].dtype)


def _is_number(value: ir.Value) -> bool:
    values = constant_of(value)
    return values is not None and values.size == 1
