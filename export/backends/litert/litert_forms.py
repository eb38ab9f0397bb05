"""A network in forms that litert-torch converts, and rightly: equal to what stood there.

A part of the worker, run inside the toolchain's environment.
"""

from __future__ import annotations

import torch
from torch import fx

_aten = torch.ops.aten


def mend(network):
    """The same network, with equal forms of what litert-torch converts wrongly or not at all."""
    graph, forms = network.graph, _forms()
    tracer = fx.proxy.GraphAppendingTracer(graph)

    def proxy(node):
        return fx.Proxy(node, tracer)

    for node in list(graph.nodes):
        if node.target not in forms:
            continue
        with graph.inserting_before(node):
            arguments, named = fx.map_arg((node.args, node.kwargs), proxy)
            other = forms[node.target](node, *arguments, **named)
        if other is None:
            continue
        if isinstance(other, tuple):
            for user in list(node.users):  # each picks one of the results
                user.replace_all_uses_with(other[user.args[1]].node)
                graph.erase_node(user)
        else:
            other.node.meta.setdefault("val", node.meta["val"])  # of which the next form asks
            node.replace_all_uses_with(other.node)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    network.recompile()
    return network


def _forms():
    """By operator: what takes its node and arguments and gives the same; None leaves it."""
    return {
        _aten.view.default: lambda node, x, shape: x.reshape(shape),  # moved channels: no view
        _aten.repeat.default: _repeated,
        _aten.tile.default: _repeated,
        _aten.expand.default: _expanded,
        _aten.expand_as.default: _expanded,
        _aten.lift_fresh_copy.default: lambda node, x: x,  # of constants that forward() makes
        _aten.detach_.default: lambda node, x: x,
        _aten.pow.Tensor_Scalar: _power,
        _aten.pow.Scalar: _power,
        _aten.square.default: _power,
        _aten.topk.default: _largest,
        _aten.sort.default: _sorted,
        _aten.argsort.default: lambda node, x, *how: _sorted(node, x, *how)[1],
        _aten.adaptive_max_pool2d.default: _adaptive_maximum,
        _aten.conv_transpose2d.input: _transposed,
        _aten.sub.Tensor: _difference,
        _aten.rsub.Scalar: lambda node, x, y, alpha=1: _difference(node, y, x, alpha),
        _aten.rsub.Tensor: lambda node, x, y, alpha=1: _difference(node, y, x, alpha),
        _aten.div.Tensor: _quotient,
    }


def _shape(x):
    return list(x.node.meta["val"].shape)


def _constant(node, name, tensor):
    """In the graph, as a buffer of the network's."""
    graph, network = node.graph, node.graph.owning_module
    name = f"{node.name}_{name}"
    network.register_buffer(name, tensor)
    return fx.Proxy(graph.get_attr(name), fx.proxy.GraphAppendingTracer(graph))


def _repeated(node, x, counts):
    """Concatenations: a repetition's counts are not moved to the end with the channels."""
    rank = len(_shape(x))
    if len(counts) > rank:  # new axes, behind which the converter moves nothing
        return None
    for axis, count in enumerate(counts, rank - len(counts)):
        if count > 1:
            x = torch.cat([x] * count, axis)
    return x


def _expanded(node, x, *_, **__):
    """Nothing where arithmetic expands it by itself, else concatenations."""
    before, after = _shape(x), list(node.meta["val"].shape)
    if len(before) != len(after):
        return None
    if all(_is_joined(user, node, after) for user in node.users):
        return x
    return _repeated(
        node, x, [new if new != old else 1 for old, new in zip(before, after, strict=True)]
    )


def _is_joined(user, node, shape):
    """Whether an operator reads ``node`` beside another tensor that has the whole ``shape``."""
    arithmetic = {_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor}
    others = [one for one in user.all_input_nodes if one is not node]
    return user.target in arithmetic and any(list(o.meta["val"].shape) == shape for o in others)


def _power(node, x, y=2):
    """LiteRT's powers end at four axes."""
    if node.meta["val"].ndim <= 4:
        return None
    if not isinstance(y, fx.Proxy) and y in (2, 3):
        return x * x if y == 2 else x * x * x
    flat = [one.flatten() if isinstance(one, fx.Proxy) else one for one in (x, y)]
    return (flat[0] ** flat[1]).reshape(list(node.meta["val"].shape))


def _largest(node, x, k, dim=-1, largest=True, is_sorted=True):
    """With both results in use; of the values alone LiteRT has no operator."""
    _, places = torch.topk(x, k, dim, largest, is_sorted)
    return x.gather(dim, places), places


def _sorted(node, x, dim=-1, descending=False):
    return _largest(node, x, _shape(x)[dim], dim, descending)


def _adaptive_maximum(node, x, size):
    """The maxima of slices, along each column first; None where their places are wanted."""
    if any(user.args[1] != 0 and user.users for user in node.users):
        return None
    for axis, n, m in zip((-2, -1), _shape(x)[-2:], size, strict=True):
        ends = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        parts = [x.narrow(axis, a, b - a).amax(axis, keepdim=True) for a, b in ends]
        x = torch.cat(parts, axis) if m > 1 else parts[0]
    return x, x


def _transposed(node, x, weight, bias=None, stride=1, padding=0, more=0, groups=1, dilation=1):
    """Without padding, and cropped; a dilated kernel is written out with its zeros."""
    step, pad, extra, holes = (
        [value] * 2 if isinstance(value, int) else (list(value) * 2)[:2]
        for value in (stride, padding, more, dilation)
    )
    kernel = _shape(weight)[2:]
    is_read = all(
        s == 1 or (d == 1 and (p == 0 or (2 * p == k - s and e == 0)))
        for k, s, p, e, d in zip(kernel, step, pad, extra, holes, strict=True)
    )
    if is_read:
        return None
    for axis, (k, d) in enumerate(zip(kernel, holes, strict=True), 2):
        if d > 1 and k > 1:
            spread = torch.zeros(k, (k - 1) * d + 1)
            spread[torch.arange(k), torch.arange(k) * d] = 1
            spread = _constant(node, f"holes{axis}", spread)
            weight = (weight.transpose(axis, -1) @ spread).transpose(axis, -1)
    y = torch.conv_transpose2d(x, weight, None, step, groups=groups)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, holes, strict=True)]
    sides = zip(_shape(x)[2:], step, spans, pad, extra, strict=True)
    for axis, (n, s, span, p, e) in enumerate(sides, 2):
        have, want = (n - 1) * s + span - p, (n - 1) * s + span - 2 * p + e
        y = y.narrow(axis, p, min(have, want))
        if want > have:
            ends = [0, want - have] if axis == 3 else [0, 0, 0, want - have]
            y = torch.nn.functional.pad(y, ends)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def _difference(node, x, y, alpha=1):
    """A constant minus a map, which the converter takes for the map minus the constant."""
    if not _is_constant(x) or _is_constant(y):
        return None
    return (-y if alpha == 1 else -alpha * y) + x


def _quotient(node, x, y):
    """A constant by a map, which the converter takes for the map by the constant."""
    return x * y.reciprocal() if _is_constant(x) and not _is_constant(y) else None


def _is_constant(value):
    """A number, or what no input of the network goes into."""
    if not isinstance(value, fx.Proxy):
        return True
    todo, seen = [value.node], set()
    while todo:
        node = todo.pop()
        if node.op == "placeholder":
            return False
        todo += [one for one in node.all_input_nodes if one not in seen]
        seen.update(node.all_input_nodes)
    return True
