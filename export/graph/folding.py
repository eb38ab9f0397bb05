"""What of a network hangs on no input: exporters compute it once, and no engine ever sees it."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx

_LARGEST = 1 << 20  # elements; of larger results the shape alone is known


def fold_constants(graph: fx.Graph, constants: Mapping[fx.Node, Any]) -> dict[fx.Node, Any]:
    """``constants``, and every node that is computed of constants alone, with its value.

    Of what is large, random in appearance or written in place, the value is the fake tensor of the
    trace: its shape and type are right. What the network writes into is no constant, and no view
    of it is.
    """
    filled: set[fx.Node] = set()
    while True:
        known = _fold(graph, constants, filled)
        found = {_root(node.args[0]) for node in graph.nodes if _writes_more(node, known)}
        if found <= filled:
            return known
        filled |= found


def _fold(
    graph: fx.Graph, constants: Mapping[fx.Node, Any], filled: Collection[fx.Node]
) -> dict[fx.Node, Any]:
    """Where nothing but what is in ``filled`` is written into."""
    known = dict(constants)
    written = _written(graph)
    for node in graph.nodes:
        if node.op != "call_function" or not all(one in known for one in node.all_input_nodes):
            continue
        target = node.target
        is_aten = isinstance(target, torch._ops.OpOverload)
        if is_aten and torch.Tag.nondeterministic_seeded in target.tags:
            continue
        if node in filled or (not is_aten and target is not operator.getitem):
            continue
        is_plain = not (is_aten and target._schema.is_mutable)
        inputs = node.all_input_nodes
        if is_plain and node not in written and not any(one in written for one in inputs):
            known[node] = _compute(node, known)
        else:
            known[node] = node.meta.get("val")
    return known


def _writes_more(node: fx.Node, known: Mapping[fx.Node, Any]) -> bool:
    """Whether an operator in place writes what is computed from the input over a constant."""
    target = node.target
    if not (isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable and node.args):
        return False
    over = node.args[0]
    is_constant = isinstance(over, fx.Node) and over in known and _root(over).op == "call_function"
    return is_constant and any(one not in known for one in node.all_input_nodes)


def _root(node: Any) -> fx.Node:
    """Of a view, what it is a view of."""
    while node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
        is_view = any(one.alias_info is not None for one in node.target._schema.returns)
        if not (is_view and node.args and isinstance(node.args[0], fx.Node)):
            break
        node = node.args[0]
    return node


def _written(graph: fx.Graph) -> set[fx.Node]:
    """What an operator in place writes over."""
    return {
        node.args[0]
        for node in graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
        and node.target._schema.is_mutable
        and node.args
        and isinstance(node.args[0], fx.Node)
    }


def _compute(node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
    fake = node.meta.get("val")
    if isinstance(fake, Tensor) and fake.numel() > _LARGEST:
        return fake
    arguments, options = fx.map_arg((node.args, node.kwargs), known.__getitem__)
    if any(is_fake(value) for value in (*arguments, *options.values())):
        return fake
    try:
        with torch.no_grad():
            return node.target(*arguments, **options)  # type: ignore[operator]
    except (RuntimeError, NotImplementedError, TypeError):  # of tensors without values, for one
        return fake


def is_fake(value: Any) -> bool:
    """Whether a value, or one of several, is a tensor of which the shape alone is known."""
    if isinstance(value, (list, tuple)):
        return any(map(is_fake, value))
    return isinstance(value, torch._subclasses.FakeTensor)
