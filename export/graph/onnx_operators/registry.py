"""The table of ONNX operators, and one node of a graph as the functions in it see it.

Each operator has a builder. It reads a node's attributes and the inputs that have to be constant
(axes, sizes), and returns the function of torch that computes the node from its other inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from ..files import GraphError

Function = Callable[..., Any]

DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
}


class OnnxError(GraphError):
    """An ONNX file that cannot be read, or a part of it that PyTorch has no function for."""


class OnnxNode:
    """A node while it is converted.

    Args:
        proto: the node.
        name: of the module that it becomes.
        opset: of its domain.
        inputs: of each input the value, where it is constant, or a fake tensor with the shape and
            type of what comes at run time; None where an optional input is left out.
        constants: which of them are constant.
    """

    def __init__(
        self,
        proto: NodeProto,
        name: str,
        opset: int,
        inputs: Sequence[Any],
        constants: Sequence[bool],
    ) -> None:
        self.name = name
        self.opset = opset
        self.domain = proto.domain
        self.outputs = tuple(proto.output)
        self.input_count = len(inputs)
        self._op_type = proto.op_type
        self._attributes = {a.name: a for a in proto.attribute}
        self._inputs = list(inputs)
        self._constants = list(constants)
        self._taken: set[int] = set()
        self.added: list[tuple[str, Tensor]] = []
        self.replaced: set[int] = set()

    def fail(self, reason: str) -> NoReturn:
        raise OnnxError(f"node {self.name} ({self._op_type}): {reason}")

    def attribute(self, name: str, default: Any = None) -> Any:
        """Text as ``str``, a tensor as torch's; ``default`` where the file does not say."""
        if name not in self._attributes:
            return default
        value = helper.get_attribute_value(self._attributes[name])
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, TensorProto):
            return to_tensor(value)
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def number_attribute(self, name: str, default: float) -> float:
        """A float32 attribute as the shortest decimal number that gives it."""
        return float(str(np.float32(self.attribute(name, default))))

    def has(self, index: int) -> bool:
        return index < len(self._inputs) and self._inputs[index] is not None

    def has_output(self, index: int) -> bool:
        return index < len(self.outputs) and bool(self.outputs[index])

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(self._inputs[index].shape)

    def rank(self, index: int) -> int:
        return len(self._inputs[index].shape)

    def dtype(self, index: int) -> torch.dtype:
        return self._inputs[index].dtype

    def axis(self, index: int, default: int) -> int:
        """The attribute ``axis``, from the front of input ``index``."""
        rank = self.rank(index)
        axis = self.attribute("axis", default)
        if not -rank <= axis < max(rank, 1):
            self.fail(f"axis {axis} of an input with {rank} dimensions")
        return axis % max(rank, 1)

    def constant(self, index: int) -> Tensor | None:
        """The value of an input that is constant; it still goes to the function."""
        return self._inputs[index] if self.has(index) and self._constants[index] else None

    def replace(self, index: int, value: Tensor) -> None:
        """Give the function another constant in the place of a constant input."""
        self._inputs[index] = value
        self.replaced.add(index)

    def add(self, value: Tensor, parameter: str = "") -> None:
        """Give the function a constant more, behind its inputs; named, it is a parameter."""
        self.added.append((parameter, value))

    def drop(self, index: int) -> None:
        """Keep an input from the function."""
        self._taken.add(index)

    def take(self, index: int) -> Tensor | None:
        """An input that has to be constant and does not go to the function; None: left out."""
        if not self.has(index):
            self.drop(index)
            return None
        if not self._constants[index]:
            self.fail(
                f"input {index} is computed from the network's input, which gives no static "
                "graph; export the network with fixed sizes"
            )
        self.drop(index)
        return self._inputs[index]

    def ints(self, index: int) -> list[int] | None:
        """Of such an input the whole numbers."""
        value = self.take(index)
        return None if value is None else [int(n) for n in value.reshape(-1).tolist()]

    def number(self, index: int) -> Any:
        """Of such an input the one number."""
        value = self.take(index)
        return None if value is None else as_number(value)

    def ints_of(self, name: str, index: int) -> list[int] | None:
        """What older opsets give as an attribute and newer ones as an input."""
        return self.attribute(name) if name in self._attributes else self.ints(index)

    def scalar(self, index: int, other: int) -> Any:
        """The number that a constant input consists of; None if it is not one.

        It can stand for the tensor beside input ``other``: it changes neither rank nor type.
        """
        value = self.constant(index)
        if value is None or value.numel() != 1 or self.constant(other) is not None:
            return None
        if value.dim() > self.rank(other) or value.dtype != self.dtype(other):
            return None
        return as_number(value)

    @property
    def kept(self) -> list[int]:
        """Which inputs go to the function, in front of what was added."""
        kept = [i for i in range(len(self._inputs)) if i not in self._taken]
        while not self.added and kept and self._inputs[kept[-1]] is None:
            kept.pop()
        return kept

    def value(self, index: int) -> Any:
        return self._inputs[index]


Builder = Callable[[OnnxNode], Function]


@dataclass(frozen=True)
class Operator:
    """A row of the table.

    Args:
        build: reads a node, returns the function that computes it.
        parameters: by input, what a constant is called in the node's module, as PyTorch does.
        buffers: those of them that training does not change.
    """

    build: Builder
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    *op_types: str,
    domain: str = "",
    parameters: Sequence[str] = (),
    buffers: Sequence[str] = (),
) -> Callable[[Builder], Builder]:
    """Enter a builder into the table, under each name."""

    def enter(build: Builder) -> Builder:
        for op_type in op_types:
            OPERATORS[domain, op_type] = Operator(build, tuple(parameters), tuple(buffers))
        return build

    return enter


def to_tensor(proto: TensorProto) -> Tensor:
    """A copy, so that the file's memory can go."""
    if proto.data_type not in DTYPES:
        kind = TensorProto.DataType.Name(proto.data_type).lower()
        name = proto.name or "without a name"
        raise OnnxError(f"tensor {name}: type {kind} is not supported")
    values = numpy_helper.to_array(proto)
    if proto.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(values, order="C"))


def as_number(value: Tensor) -> Any:
    """Of a float32 the shortest decimal number that gives it: 0.1, not 0.10000000149."""
    if value.numel() != 1:
        raise OnnxError(f"a constant of shape {tuple(value.shape)} stands where one number should")
    if value.dtype == torch.float32 and math.isfinite(value.item()):
        return float(str(np.float32(value.item())))
    return value.item()
