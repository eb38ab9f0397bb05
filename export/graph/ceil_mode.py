"""``ceil_mode`` of pools, where engines read it otherwise than PyTorch.

A last window that would start in the padding behind the input is left out by PyTorch; ONNX's own
inference of shapes and most engines keep it, and answer with a row or a column too many. Such a
pool is written without ``ceil_mode``, and so is one whose windows fit the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from onnx import ModelProto, NodeProto, helper, shape_inference
from torch.nn import functional as F

_POOLS = ("MaxPool", "AveragePool", "LpPool")


@dataclass(frozen=True)
class Side:
    """One spatial axis of a pool: the input's size, and the window's, with its padding."""

    size: int
    kernel: int
    stride: int
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def leaves_out(self) -> bool:
        """Whether ``ceil_mode`` asks for a last window that PyTorch leaves out."""
        windows = -(-self._room // self.stride) + 1
        return (windows - 1) * self.stride >= self.size + self.before

    @property
    def overhang(self) -> int:
        """How far the last window that counts reaches past the padding."""
        if self.leaves_out:
            return 0
        return -self._room % self.stride

    @property
    def _room(self) -> int:
        span = (self.kernel - 1) * self.dilation + 1
        return self.size + self.before + self.after - span


def settle_ceil_mode(proto: ModelProto) -> ModelProto:
    """The same file, or a copy in which ``ceil_mode`` says the same to PyTorch and to engines.

    An average that counts its padding keeps it where one axis leaves a window out and the other
    reaches past the padding: no ONNX pool says that otherwise.
    """
    if not any(_has_ceil_mode(node) for node in proto.graph.node):
        return proto
    settled = ModelProto()
    settled.CopyFrom(proto)
    for node in settled.graph.node:  # in order: a pool's size decides that of the next
        if _has_ceil_mode(node) and (sides := _sides_of(node, settled)):
            _settle(node, sides)
    return _with_new_shapes(settled)


def _with_new_shapes(proto: ModelProto) -> ModelProto:
    """What the file said of shapes counted the windows that are left out."""
    del proto.graph.value_info[:]
    open_ended = ModelProto()
    open_ended.CopyFrom(proto)
    for value in open_ended.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(open_ended, data_prop=True)
    for value, old in zip(inferred.graph.output, proto.graph.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            value.CopyFrom(old)
    return inferred


def _has_ceil_mode(node: NodeProto) -> bool:
    attributes = {a.name: a for a in node.attribute}
    return node.op_type in _POOLS and "ceil_mode" in attributes and attributes["ceil_mode"].i == 1


def _sides_of(node: NodeProto, proto: ModelProto) -> list[Side]:
    """Empty where the size is not known, or padding is a matter of ``auto_pad``."""
    del proto.graph.value_info[:]
    inferred = shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    size = shapes.get(node.input[0], [])[2:]
    if not size or 0 in size or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        return []
    ones = [1] * len(size)
    pads = given.get("pads", [0, 0] * len(size))
    columns = (
        *(size, given["kernel_shape"], given.get("strides", ones)),
        *(pads[: len(size)], pads[len(size) :], given.get("dilations", ones)),
    )
    return [Side(*each) for each in zip(*columns, strict=True)]


def _settle(node: NodeProto, sides: Sequence[Side]) -> None:
    given = {a.name: a for a in node.attribute}
    padded = any(side.before or side.after for side in sides)
    counts = padded and "count_include_pad" in given and given["count_include_pad"].i == 1
    reaches = any(side.overhang for side in sides)
    if reaches and (counts or not any(side.leaves_out for side in sides)):
        return
    if reaches:
        ends = [side.after + side.overhang for side in sides]
        given["pads"] = helper.make_attribute("pads", [*(side.before for side in sides), *ends])
        given.pop("count_include_pad", None)
    del given["ceil_mode"]
    kept = list(given.values())
    del node.attribute[:]
    node.attribute.extend(kept)


_MAXIMUM = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVERAGE = (
    *("input", "kernel_size", "stride", "padding", "ceil_mode"),
    *("count_include_pad", "divisor_override"),
)
_AVERAGES = {F.avg_pool1d: 1, F.avg_pool2d: 2, F.avg_pool3d: 3}
POOLS: dict[Callable[..., Any], int] = {
    **{torch.max_pool1d: 1, torch.max_pool2d: 2, torch.max_pool3d: 3},
    **{F.max_pool1d: 1, F.max_pool2d: 2, F.max_pool3d: 3},
    **_AVERAGES,
}
"""PyTorch's functions, and over how many axes each pools."""


def settled_pool(pool: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
    """What one of :data:`POOLS` answers, without ``ceil_mode`` where engines misread it.

    As it is called, or along each axis in turn: maxima of maxima, and averages of averages.
    """
    names = _AVERAGE if pool in _AVERAGES else _MAXIMUM
    given = dict(zip(names, args, strict=False)) | kwargs
    x, dims = given.pop(names[0]), POOLS[pool]
    kernel = _each(given["kernel_size"], dims)
    stride = _each(given.get("stride") or kernel, dims)
    padding, dilation = (_each(given.get(n, d), dims) for n, d in (("padding", 0), ("dilation", 1)))
    size = [int(n) for n in x.shape[-dims:]]
    columns = (size, kernel, stride, padding, padding, dilation)
    sides = [Side(*each) for each in zip(*columns, strict=True)]
    if not any(side.overhang for side in sides):
        return pool(x, **{**given, "ceil_mode": False})
    if not given.get("ceil_mode") or not any(side.leaves_out for side in sides):
        return pool(x, **given)
    divisor = given.pop("divisor_override", None)
    for axis, side in enumerate(sides):
        along = {
            "kernel_size": _only(axis, kernel, 1),
            "stride": _only(axis, stride, 1),
            "padding": _only(axis, padding, 0),
            "ceil_mode": bool(side.overhang),
        }
        along |= {"dilation": _only(axis, dilation, 1)} if "dilation" in given else {}
        along |= {n: given[n] for n in ("count_include_pad",) if n in given}
        along |= {"divisor_override": 1} if divisor else {}
        x = pool(x, **along)
    return x / divisor if divisor else x


def _each(value: Any, dims: int) -> list[int]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return [int(n) for n in values] * (dims // len(values))


def _only(axis: int, values: Sequence[int], neutral: int) -> list[int]:
    return [value if index == axis else neutral for index, value in enumerate(values)]
