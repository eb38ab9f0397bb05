"""Layers of the CPU that go element by element, and what all layers of the CPU have in common.

Fields come in the file's order, after the flags: ``body`` holds their codes (``I`` uint32, ``i``
int32, ``f`` float32), :meth:`CpuLayer.arrays` the arrays behind them. Addresses are offsets into
the main buffer. Floats agree with the firmware's but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .layer import DType, Layer, MainTensor, Tensor, round_up

ArraySpec = tuple[str, str, tuple[int, ...]]  # field, dtype in the file, shape


@dataclass(frozen=True, kw_only=True, eq=False)
class CpuLayer(Layer):
    """A layer of the CPU's; subclasses are listed in ``CPU_LAYERS``."""

    body: ClassVar[str]

    @classmethod
    def arrays(cls, numbers: Mapping[str, Any]) -> tuple[ArraySpec, ...]:
        """The arrays behind the numbers, which say how long they are."""
        return ()

    @property
    def constant_bytes(self) -> int:
        return sum(getattr(self, name).nbytes for name, *_ in self.arrays(vars(self)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Elementwise(CpuLayer):
    """One output element for each of ``count`` input elements."""

    elementwise: ClassVar[bool] = True
    in_place: ClassVar[bool] = True
    input_type: ClassVar[DType] = "float32"
    output_type: ClassVar[DType] = "float32"

    input: int
    output: int
    count: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, self.input_type, (self.count,)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, self.output_type, (self.count,)),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(CpuLayer):
    """``a + b``, float32."""

    type_id: ClassVar[int] = 1
    body: ClassVar[str] = "4I"
    elementwise: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    input_a: int
    input_b: int
    output: int
    count: int

    def reads(self) -> tuple[Tensor, ...]:
        return tuple(
            MainTensor(address, "float32", (self.count,))
            for address in (self.input_a, self.input_b)
        )

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "float32", (self.count,)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0] + inputs[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedAdd(CpuLayer):
    """Sum of two uint8 tensors of different scales, in fixed point; works on 8 bytes at a time.

    Each input becomes ``(x + offset) * mul >> shift``; the sum ``s`` becomes
    ``carry_shift(s * out_mul, out_shift) + out_offset``, clipped to a byte. [This order of steps is
    inferred from the fields' names: no published file has been seen that holds this layer.]
    """

    type_id: ClassVar[int] = 2
    body: ClassVar[str] = "4I9i"
    elementwise: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    input_a: int
    input_b: int
    output: int
    count: int
    a_offset: int
    a_mul: int
    a_shift: int
    b_offset: int
    b_mul: int
    b_shift: int
    out_offset: int
    out_mul: int
    out_shift: int

    def reads(self) -> tuple[Tensor, ...]:
        extra = round_up(self.count, 8) - self.count
        return tuple(
            MainTensor(address, "uint8", (self.count,), extra)
            for address in (self.input_a, self.input_b)
        )

    def writes(self) -> tuple[Tensor, ...]:
        extra = round_up(self.count, 8) - self.count
        return (MainTensor(self.output, "uint8", (self.count,), extra),)

    def problem(self) -> str | None:
        for name in ("a_shift", "b_shift", "out_shift"):
            if not 0 <= getattr(self, name) < 32:
                return f"{name} is {getattr(self, name)}: 0 to 31 make sense"
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        a, b = (x.astype(np.int64) for x in inputs)
        total = ((a + self.a_offset) * self.a_mul >> self.a_shift) + (
            (b + self.b_offset) * self.b_mul >> self.b_shift
        )
        total = carry_shift(total * self.out_mul, self.out_shift) + self.out_offset
        return np.clip(total, 0, 255).astype(np.uint8)


def carry_shift(values: np.ndarray, shift: int) -> np.ndarray:
    """``values / 2**shift`` as the firmware rounds it: a half carries, away from zero.

    A negative value is rounded down first and then, if it had a half or more left, by one more.
    """
    if shift == 0:
        return values
    halves = values >> (shift - 1)
    return (halves >> 1) + np.where(halves & 1, np.where(halves < 0, -1, 1), 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantize(_Elementwise):
    """``clip(round((x - bias) / scale), 0, 255)``; a half is rounded away from zero."""

    type_id: ClassVar[int] = 11
    body: ClassVar[str] = "3I2f"
    output_type: ClassVar[DType] = "uint8"

    scale: float
    bias: float

    def problem(self) -> str | None:
        if not np.isfinite([self.scale, self.bias]).all() or np.float32(self.scale) == 0:
            return f"scale {self.scale} and bias {self.bias} quantise nothing"
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        steps = (inputs[0] - np.float32(self.bias)) / np.float32(self.scale)
        clipped = np.clip(np.nan_to_num(steps), 0, 255)
        return np.floor(clipped.astype(np.float64) + 0.5).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dequantize(_Elementwise):
    """``q * scale + bias``."""

    type_id: ClassVar[int] = 12
    body: ClassVar[str] = "3I2f"
    in_place: ClassVar[bool] = False  # four bytes would overwrite three that are unread
    input_type: ClassVar[DType] = "uint8"

    scale: float
    bias: float

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0] * np.float32(self.scale) + np.float32(self.bias)


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantize(_Elementwise):
    """A byte for each byte: ``table`` uint8 ``[256]``."""

    type_id: ClassVar[int] = 13
    body: ClassVar[str] = "3I"
    input_type: ClassVar[DType] = "uint8"
    output_type: ClassVar[DType] = "uint8"

    table: np.ndarray

    @classmethod
    def arrays(cls, numbers: Mapping[str, Any]) -> tuple[ArraySpec, ...]:
        return (("table", "u1", (256,)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return self.table[inputs[0]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelwiseDequantize(CpuLayer):
    """``q * scale + bias`` with a pair for each channel: ``scales`` float32 ``[channels, 2]``."""

    type_id: ClassVar[int] = 24
    body: ClassVar[str] = "4I"
    elementwise: ClassVar[bool] = True

    input: int
    output: int
    channels: int
    channel_size: int
    scales: np.ndarray

    @classmethod
    def arrays(cls, numbers: Mapping[str, Any]) -> tuple[ArraySpec, ...]:
        return (("scales", "<f4", (numbers["channels"], 2)),)

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "uint8", (self.channels, self.channel_size)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "float32", (self.channels, self.channel_size)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        scale, bias = self.scales[:, :1], self.scales[:, 1:]
        return inputs[0] * scale + bias


@dataclass(frozen=True, kw_only=True, eq=False)
class L2Normalize(_Elementwise):
    """``x / sqrt(sum(x * x))``; the least sum is 1e-10 [inferred], so that zeros stay zeros."""

    type_id: ClassVar[int] = 14
    body: ClassVar[str] = "3I"

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        power = (inputs[0] * inputs[0]).sum(1, keepdims=True)
        return inputs[0] / np.sqrt(np.maximum(power, np.float32(1e-10)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax(_Elementwise):
    """``exp(x) / sum(exp(x))``."""

    type_id: ClassVar[int] = 15
    body: ClassVar[str] = "3I"

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        powers = np.exp(inputs[0] - inputs[0].max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Logistic(_Elementwise):
    """``1 / (1 + exp(-x))``."""

    type_id: ClassVar[int] = 25
    body: ClassVar[str] = "3I"

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return np.float32(1) / (np.float32(1) + np.exp(-inputs[0]))
