"""What a network takes of a microcontroller's memory at least, seen at its graph before training.

The arena holds every map that is still to be read while an operator runs. Padded copies, gaps and
the interpreter's own notes take more; a figure here is never above what an export measures.
"""

from __future__ import annotations

import math

from torch import Tensor, fx

from ...graph.network import Network, Op

# A convolution's own, by fusion or by folding, or the same numbers under another shape.
_FUSED = ("batch_norm", "relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max")
_RENAMED = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view")
_COPIED = ("alias", "clone", "contiguous", "detach", "dropout", "to")
_IN_PLACE = frozenset((*_FUSED, *_RENAMED, *_COPIED))
_GETITEM = "getitem"
_TWO_STEPS = ("silu",)  # a sigmoid, whose result lies beside both maps of the product


def weight_bytes(network: Network) -> int:
    """Of the weights in int8: convolutions, linear layers and matrices, each once."""
    read = {
        node
        for op in network.ops
        if op.kind not in _IN_PLACE
        for node in op.node.all_input_nodes
        if node in network.constants
    }
    shapes = [_shape(node) for node in read]
    return sum(math.prod(shape) for shape in shapes if len(shape) > 1)


def peak_bytes(network: Network) -> tuple[int, Op | None]:
    """The most that maps take at once in int8, and the operator that is computed then."""
    owners = _owners(network)
    order = {op.node: index for index, op in enumerate(network.ops)}
    last: dict[fx.Node, int] = {}
    for op in network.ops:
        for node in op.node.all_input_nodes:
            if node in owners:
                last[owners[node]] = order[op.node]
        if op.is_output:
            last[owners[op.node]] = len(order)
    most, where = 0, None
    live: dict[fx.Node, int] = {n: _size(n) for n, owner in owners.items() if n not in order}
    for op in network.ops:
        owner = owners[op.node]
        if owner is op.node:
            live[owner] = _size(owner)
        total = sum(live.values()) + (_size(op.node) if op.kind in _TWO_STEPS else 0)
        if total > most:
            most, where = total, op
        live = {n: size for n, size in live.items() if last.get(n, -1) > order[op.node]}
    return most, where


def _owners(network: Network) -> dict[fx.Node, fx.Node]:
    """Of each map, the node that computed its numbers: an earlier one where it shares them."""
    owners: dict[fx.Node, fx.Node] = {}
    for op in network.ops:
        given = [node for node in op.node.all_input_nodes if node not in network.constants]
        for node in given:
            owners.setdefault(node, node)
        shares = given and (op.kind in _IN_PLACE or _is_item(op))
        owners[op.node] = owners[given[0]] if shares else op.node
    return owners


def _is_item(op: Op) -> bool:
    """One of an operator's several results."""
    return getattr(op.node.target, "__name__", "") == _GETITEM


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _size(node: fx.Node) -> int:
    """In bytes, a byte a number; of several results, of all."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return sum(math.prod(v.shape) for v in values if isinstance(v, Tensor))
