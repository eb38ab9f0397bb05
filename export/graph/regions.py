"""Graphs within a graph: what ``torch.no_grad``, ``torch.autocast`` and checkpoints wrap.

``torch.export`` keeps each such region as a graph of its own, behind one higher-order operator.
Whoever looks for operators, or replaces one, needs them in the network's graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

_WRAPPERS = (
    *("wrap_with_set_grad_enabled", "wrap_with_autocast", "tag_activation_checkpoint"),
    *("wrap_activation_checkpoint", "wrap", "hints_wrapper"),
)


def inline_regions(program: torch.export.ExportedProgram, with_autocast: bool = False) -> None:
    """Put the operators of wrapped regions into the graph, in place; nested ones as well.

    Args:
        program: its graph is changed, and its signature no longer names its outputs.
        with_autocast: inline regions, too, in which autocast is at work on the CPU: inlined, they
            compute in other types than the network does.
    """
    root = program.graph_module
    while wrapped := [n for n in root.graph.nodes if _is_wrapper(n, root, with_autocast)]:
        for node in wrapped:
            _inline(node, root)
    root.graph.eliminate_dead_code()


def _body(node: fx.Node, root: fx.GraphModule) -> tuple[int, fx.GraphModule] | None:
    """Where among the arguments the region's graph stands, and that graph."""
    found = [
        (index, getattr(root, str(one.target), None))
        for index, one in enumerate(node.args)
        if isinstance(one, fx.Node) and one.op == "get_attr"
    ]
    graphs = [(index, body) for index, body in found if isinstance(body, fx.GraphModule)]
    return graphs[0] if len(graphs) == 1 else None


def _is_wrapper(node: fx.Node, root: fx.GraphModule, with_autocast: bool) -> bool:
    name = getattr(node.target, "__name__", "")
    if node.op != "call_function" or name not in _WRAPPERS or _body(node, root) is None:
        return False
    is_at_work = name == "wrap_with_autocast" and node.args[0] == "cpu" and bool(node.args[2])
    return with_autocast or not is_at_work


def _inline(node: fx.Node, root: fx.GraphModule) -> None:
    found = _body(node, root)
    assert found is not None
    index, body = found
    inputs = [one for one in body.graph.nodes if one.op == "placeholder"]
    placed = dict(zip(inputs, node.args[index + 1 :][-len(inputs) :], strict=True))
    results: Any = ()
    with root.graph.inserting_before(node):
        for one in body.graph.nodes:
            if one.op == "output":
                results = fx.map_arg(one.args[0], placed.__getitem__)
            elif one.op == "get_attr":
                name = _free_name(root, str(one.target))
                setattr(root, name, getattr(body, str(one.target)))
                placed[one] = root.graph.get_attr(name)
            elif one.op != "placeholder":
                placed[one] = root.graph.node_copy(one, placed.__getitem__)
    if not isinstance(results, (list, tuple)):
        node.replace_all_uses_with(results)
    for user in list(node.users):  # each picks one of the results
        user.replace_all_uses_with(results[user.args[1]])
        root.graph.erase_node(user)
    root.graph.erase_node(node)


def _free_name(root: fx.GraphModule, name: str) -> str:
    number = 0
    while hasattr(root, f"{name}_{number}"):
        number += 1
    return f"{name}_{number}"
