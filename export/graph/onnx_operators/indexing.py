"""Reading and writing by index."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _from_front(index: Tensor, size: int) -> Tensor:
    return torch.where(index < 0, index + size, index)


@operator("Gather", parameters=("weight",))
def gather(node: OnnxNode) -> Function:
    """One constant index is a selection; a constant table read by rows, an embedding."""
    axis, shape, index = node.axis(0, 0), node.shape(0), node.constant(1)
    size = shape[axis]
    if index is not None and node.constant(0) is None:
        index = _from_front(index.long(), size)
        if index.dim() == 0:
            number = int(index)
            node.drop(1)
            return lambda x: x.select(axis, number)
        node.replace(1, index.reshape(-1))
        wanted = (*shape[:axis], *index.shape, *shape[axis + 1 :])
        if index.dim() == 1:
            return lambda x, index: torch.index_select(x, axis, index)
        return lambda x, index: torch.index_select(x, axis, index).reshape(wanted)
    if axis == 0 and len(shape) == 2 and node.constant(0) is not None and index is None:
        return lambda table, index: F.embedding(index, table)
    before = (slice(None),) * axis
    return lambda x, index: x[(*before, index.long())]


@operator("GatherElements")
def gather_elements(node: OnnxNode) -> Function:
    axis = node.axis(0, 0)
    size = node.shape(0)[axis]
    _replace_negative(node, size)
    if node.constant(1) is not None:
        return lambda x, index: torch.gather(x, axis, index)
    return lambda x, index: torch.gather(x, axis, _from_front(index.long(), size))


def _replace_negative(node: OnnxNode, size: int) -> None:
    index = node.constant(1)
    if index is not None:
        node.replace(1, _from_front(index.long(), size))


@operator("GatherND")
def gather_nd(node: OnnxNode) -> Function:
    """The first ``batch_dims`` axes go along in both."""
    batches = node.attribute("batch_dims", 0)
    index_shape = node.shape(1)
    for i in range(batches):
        view = [1] * (len(index_shape) - 1)
        view[i] = index_shape[i]
        node.add(torch.arange(index_shape[i]).reshape(view))
    return lambda x, index, *rows: x[(*rows, *index.long().unbind(-1))]


@operator("ScatterND")
def scatter_nd(node: OnnxNode) -> Function:
    reduction, shape = node.attribute("reduction", "none"), node.shape(0)
    if reduction in ("none", "add"):
        adds = reduction == "add"
        return lambda x, index, updates: x.index_put(index.long().unbind(-1), updates, adds)
    depth = node.shape(1)[-1]
    rows = math.prod(shape[:depth])
    strides = torch.tensor([math.prod(shape[i + 1 : depth]) for i in range(depth)])
    sizes = torch.tensor(shape[:depth])
    node.add(strides)
    node.add(sizes)

    def function(
        x: Tensor, index: Tensor, updates: Tensor, strides: Tensor, sizes: Tensor
    ) -> Tensor:
        places = (torch.where(index < 0, index + sizes, index) * strides).sum(-1).reshape(-1, 1)
        flat = x.reshape(rows, -1)
        values = updates.reshape(places.shape[0], -1)
        places = places.expand(values.shape)
        result = flat.scatter_reduce(0, places, values, _REDUCTIONS[reduction], include_self=True)
        return result.reshape(shape)

    return function


@operator("ScatterElements", "Scatter")
def scatter_elements(node: OnnxNode) -> Function:
    axis, reduction = node.axis(0, 0), node.attribute("reduction", "none")
    size = node.shape(0)[axis]
    _replace_negative(node, size)

    def function(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        index = _from_front(index.long(), size)
        if reduction == "none":
            return torch.scatter(x, axis, index, updates)
        how = _REDUCTIONS[reduction]
        return torch.scatter_reduce(x, axis, index, updates, how, include_self=True)

    return function


@operator("OneHot")
def one_hot(node: OnnxNode) -> Function:
    depth, values = int(node.number(1)), node.take(2)
    assert values is not None
    off, on = values[0].clone(), values[1].clone()
    rank = node.rank(0) + 1
    axis = node.attribute("axis", -1) % rank
    view = [1] * rank
    view[axis] = depth
    for value in (torch.arange(depth).reshape(view), on, off):
        node.add(value)

    def function(index: Tensor, places: Tensor, on: Tensor, off: Tensor) -> Tensor:
        wanted = _from_front(index.long(), depth).unsqueeze(axis)
        return torch.where(wanted == places, on, off)

    return function


@operator("NonZero")
def non_zero(node: OnnxNode) -> Function:
    return lambda x: torch.nonzero(x).t()


@operator("Compress")
def compress(node: OnnxNode) -> Function:
    kept, axis = node.take(1), node.attribute("axis")
    assert kept is not None
    node.add(torch.nonzero(kept).reshape(-1))
    if axis is None:
        return lambda x, index: torch.index_select(x.reshape(-1), 0, index)
    return lambda x, index: torch.index_select(x, axis, index)
