"""Constants, and what is known of shapes: all of it is computed when the file is read."""

from __future__ import annotations

import torch
from torch import Tensor

from ..network import RandomNumbersError
from .registry import DTYPES, Function, OnnxNode, operator


@operator("Constant")
def constant(node: OnnxNode) -> Function:
    value = node.attribute("value")
    if value is None:
        for name in ("value_float", "value_floats", "value_int", "value_ints"):
            number = node.attribute(name)
            if number is not None:
                kind = torch.float32 if "float" in name else torch.int64
                value = torch.tensor(number, dtype=kind)
    if not isinstance(value, Tensor):
        node.fail("a constant that is neither a tensor nor numbers is not supported")
    return lambda: value


@operator("ConstantOfShape")
def constant_of_shape(node: OnnxNode) -> Function:
    shape, value = node.ints(0) or [], node.attribute("value")
    result = torch.zeros(shape) if value is None else value.reshape(()).expand(shape).contiguous()
    return lambda: result


@operator("Shape")
def shape_of(node: OnnxNode) -> Function:
    shape = node.shape(0)[node.attribute("start", 0) : node.attribute("end")]
    node.drop(0)
    return lambda: torch.tensor(shape, dtype=torch.int64)


@operator("Size")
def size_of(node: OnnxNode) -> Function:
    count = torch.Size(node.shape(0)).numel()
    node.drop(0)
    return lambda: torch.tensor(count, dtype=torch.int64)


@operator("Range")
def range_of(node: OnnxNode) -> Function:
    kind = node.dtype(0)
    start, end, step = (node.number(i) for i in range(3))
    return lambda: torch.arange(start, end, step, dtype=kind)


@operator("EyeLike")
def eye_like(node: OnnxNode) -> Function:
    rows, columns = node.shape(0)
    kind = DTYPES[node.attribute("dtype")] if node.attribute("dtype") else node.dtype(0)
    offset = node.attribute("k", 0)
    node.drop(0)
    diagonal = torch.arange(columns) - torch.arange(rows)[:, None] == offset
    return lambda: diagonal.to(kind)


@operator(
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
def random_numbers(node: OnnxNode) -> Function:
    node.fail(
        f"it draws random numbers: {RandomNumbersError.consequence}; {RandomNumbersError.fix}"
    )
