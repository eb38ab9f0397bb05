"""A network in forms that litert-torch converts, and rightly: equal to what stood there.

A part of the worker, run inside the toolchain's environment.
"""

from __future__ import annotations

import functools
import math
import operator

import litert_pools
import torch
from litert_proxies import constant, each_of, shape_of
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
    return litert_pools.FORMS | {
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
        _aten.flip.default: _flipped,
        _aten.linalg_vector_norm.default: _norm,
        _aten.norm.ScalarOpt_dim: _norm,
        _aten.topk.default: _largest,
        _aten.sort.default: _sorted,
        _aten.sort.stable: lambda node, x, stable=True, **how: _sorted(node, x, **how),
        _aten.argsort.default: lambda node, x, *how: _sorted(node, x, *how)[1],
        _aten.argsort.stable: lambda node, x, stable=True, **how: _sorted(node, x, **how)[1],
        _aten.conv3d.default: _volume,
        _aten.conv3d.padding: _volume,
        _aten.conv_transpose1d.default: _transposed,
        _aten.conv_transpose2d.input: _transposed,
        _aten.conv_transpose3d.input: _transposed,
        _aten.matmul.default: _product,
        _aten.sub.Tensor: _difference,
        _aten.rsub.Scalar: lambda node, x, y, alpha=1: _difference(node, y, x, alpha),
        _aten.rsub.Tensor: lambda node, x, y, alpha=1: _difference(node, y, x, alpha),
        _aten.div.Tensor: _quotient,
    }


def _held(x):
    """What the network holds there; of what is computed, the proxy."""
    if x.node.op != "get_attr":
        return x
    return operator.attrgetter(x.node.target)(x.node.graph.owning_module).detach()


def _repeated(node, x, counts):
    """Concatenations: a repetition's counts are not moved to the end with the channels."""
    rank = len(shape_of(x))
    if len(counts) > rank:  # new axes, behind which the converter moves nothing
        return None
    for axis, count in enumerate(counts, rank - len(counts)):
        if count > 1:
            x = torch.cat([x] * count, axis)
    return x


def _expanded(node, x, *_, **__):
    """Nothing where arithmetic expands it by itself, else concatenations."""
    before, after = shape_of(x), list(node.meta["val"].shape)
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


def _flipped(node, x, axes):
    """One axis after the other: LiteRT refuses axes that are not neighbours when it runs."""
    return functools.reduce(lambda turned, axis: turned.flip([axis]), axes, x)


def _norm(node, x, order=2, dim=None, keepdim=False, **_):
    """The converter makes powers of it."""
    if len(shape_of(x)) <= 4 or order != 2 or dim is None:
        return None
    return (x * x).sum(dim, keepdim).sqrt()


def _largest(node, x, k, dim=-1, largest=True, is_sorted=True):
    """With both results in use; of the values alone LiteRT has no operator, nor of one value."""
    if shape_of(x)[dim] == 1:
        return x, constant(x, torch.zeros(shape_of(x), dtype=torch.int64))
    _, places = torch.topk(x, k, dim, largest, is_sorted)
    return x.gather(dim, places), places


def _sorted(node, x, dim=-1, descending=False):
    return _largest(node, x, shape_of(x)[dim], dim, descending)


def _volume(node, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Of convolutions over volumes LiteRT has no groups."""
    if groups == 1:
        return None
    convolve = functools.partial(
        torch.nn.functional.conv3d, stride=stride, padding=padding, dilation=dilation
    )
    y = _by_group(convolve, x, weight, groups, shape_of(weight)[0] // groups)
    return y if bias is None else y + bias.reshape(-1, 1, 1, 1)


def _by_group(convolve, x, weight, groups, filters):
    """The convolutions of each group's channels, one behind the other."""
    if groups == 1:
        return convolve(x, weight)
    parts = enumerate(x.chunk(groups, 1)[i] for i in range(groups))
    return torch.cat([convolve(a, weight.narrow(0, i * filters, filters)) for i, a in parts], 1)


def _transposed(node, x, weight, bias=None, stride=1, padding=0, more=0, groups=1, dilation=1):
    """Without padding, and cropped; a dilated kernel is written out with its zeros.

    Over volumes, LiteRT has neither strides nor groups.
    """
    kernel, filters = shape_of(weight)[2:], shape_of(weight)[0] // groups
    dims = len(kernel)
    step, pad, extra, holes = (each_of(value, dims) for value in (stride, padding, more, dilation))
    is_read = all(
        s == 1 or (dims < 3 and d == 1 and (p == 0 or (2 * p == k - s and e == 0)))
        for k, s, p, e, d in zip(kernel, step, pad, extra, holes, strict=True)
    )
    if is_read and (dims < 3 or groups == 1):
        return None
    if any(d > 1 for d in holes):
        weight = _spaced(_held(weight), shape_of(weight), holes)
        weight = constant(x, weight) if isinstance(weight, torch.Tensor) else weight
    if dims == 3:
        spaced = _spaced(x, shape_of(x), step)
        y = _by_group(torch.conv_transpose3d, spaced, weight, groups, filters)
    else:
        convolve = torch.conv_transpose2d if dims == 2 else torch.conv_transpose1d
        y = convolve(x, weight, None, step, groups=groups)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, holes, strict=True)]
    sides = zip(shape_of(x)[2:], step, spans, pad, extra, strict=True)
    for axis, (n, s, span, p, e) in enumerate(sides, 2):
        have, want = (n - 1) * s + span - p, (n - 1) * s + span - 2 * p + e
        y = y.narrow(axis, p, min(have, want))
        if want > have:
            y = torch.nn.functional.pad(y, [0, 0] * (dims + 1 - axis) + [0, want - have])
    return y if bias is None else y + bias.reshape(-1, *[1] * dims)


def _spaced(x, shape, step):
    """Maps or kernels with ``step - 1`` zeros between their elements along each side."""
    for axis, s in enumerate(step, 2):
        if s == 1:
            continue
        before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
        rows = x.reshape(math.prod(before), n, 1, math.prod(after))
        rows = torch.nn.functional.pad(rows, [0, 0, 0, s - 1])
        shape = [*before, (n - 1) * s + 1, *after]
        x = rows.reshape(*before, n * s, *after).narrow(axis, 0, shape[axis])
    return x


def _product(node, x, y):
    """A constant matrix comes second: in int8 the other order is wrong without a word."""
    is_turned = _is_constant(x) and not _is_constant(y)
    if not is_turned or min(len(shape_of(x)), len(shape_of(y))) < 2:
        return None
    return (y.transpose(-1, -2) @ x.transpose(-1, -2)).transpose(-1, -2)


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
