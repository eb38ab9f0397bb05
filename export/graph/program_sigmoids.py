"""Sigmoids that are written out by exponentials, in the graphs of torch.export.

What ``written_sigmoids`` does in ONNX files: rules look at the same network as converters do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

_aten = torch.ops.aten


def read_written_sigmoids(program: torch.export.ExportedProgram) -> None:
    """Sigmoids in torch.export's graph, in place; ExecuTorch's int8 stops at a softplus."""
    graph, is_changed = program.graph, False
    for node in list(graph.nodes):
        if node.target not in (_aten.reciprocal.default, _aten.div.Tensor):
            continue
        exponent = _exponent_of(node.args[-1])
        if exponent is None:
            continue
        with graph.inserting_before(node):
            x = exponent.args[0] if exponent.target is _aten.neg.default else None
            x = x or _with_value(graph.call_function(_aten.neg.default, (exponent,)), exponent)
            new = graph.call_function(_aten.sigmoid.default, (x,))
            if node.target is _aten.div.Tensor:
                _with_value(new, exponent)
                new = graph.call_function(_aten.mul.Tensor, (node.args[0], new))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        graph.erase_node(node)
        new.name = node.name  # by which the program knows its outputs
        is_changed = True
    if is_changed:
        graph.eliminate_dead_code()
        program.graph_module.recompile()


def _with_value(node: fx.Node, like: fx.Node) -> fx.Node:
    node.meta = dict(like.meta)
    return node


def _exponent_of(plus: Any) -> Any:
    """The exponent, where a node is ``exp(exponent) + 1``."""
    if not isinstance(plus, fx.Node) or plus.target is not _aten.add.Tensor or plus.kwargs:
        return None
    power: Any
    power, one = plus.args
    is_exp = isinstance(power, fx.Node) and power.target is _aten.exp.default
    return power.args[0] if is_exp and isinstance(one, (int, float)) and one == 1 else None
