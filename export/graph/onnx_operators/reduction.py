"""Sums, means and extremes along axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .registry import Function, OnnxNode, operator

_Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return x.sum(axes, keepdim=keep)
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return x.mean(axes, keepdim=keep)
    return x.double().mean(axes, keepdim=keep).to(x.dtype)


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


_REDUCTIONS: dict[str, _Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _prod,
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
}


def _build(node: OnnxNode, function: _Reduction) -> Function:
    given = node.ints_of("axes", 1)
    rank, keep = node.rank(0), bool(node.attribute("keepdims", 1))
    if not given and (node.attribute("noop_with_empty_axes", 0) or rank == 0):
        return lambda x: function(x, [], True) if rank == 0 else x
    axes = sorted(axis % rank for axis in given or range(rank))
    return lambda x: function(x, axes, keep)


def _enter_all() -> None:
    for op_type, function in _REDUCTIONS.items():
        operator(op_type)(lambda node, function=function: _build(node, function))


_enter_all()


def _build_arg(node: OnnxNode, function: Function) -> Function:
    axis, keep = node.axis(0, 0), bool(node.attribute("keepdims", 1))
    if not node.attribute("select_last_index", 0):
        return lambda x: function(x, axis, keepdim=keep)
    last = node.shape(0)[axis] - 1
    return lambda x: last - function(x.flip(axis), axis, keepdim=keep)


@operator("ArgMax")
def argmax(node: OnnxNode) -> Function:
    return _build_arg(node, torch.argmax)


@operator("ArgMin")
def argmin(node: OnnxNode) -> Function:
    return _build_arg(node, torch.argmin)


@operator("TopK")
def topk(node: OnnxNode) -> Function:
    """Among equal values which come first is not said by ONNX."""
    count = node.attribute("k") if node.opset < 10 else node.number(1)
    axis, largest = node.axis(0, -1), bool(node.attribute("largest", 1))
    ordered = bool(node.attribute("sorted", 1))
    return lambda x: tuple(torch.topk(x, count, axis, largest, ordered))


@operator("CumSum")
def cumsum(node: OnnxNode) -> Function:
    axis = node.number(1) % node.rank(0)
    exclusive, reverse = node.attribute("exclusive", 0), node.attribute("reverse", 0)

    def function(x: Tensor) -> Tensor:
        y = x.flip(axis) if reverse else x
        total = torch.cumsum(y, axis, dtype=x.dtype)
        total = total - y if exclusive else total
        return total.flip(axis) if reverse else total

    return function
