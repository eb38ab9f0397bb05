"""Layers of the CPU that reshape, pool and mix: the tail of a network, and the way onto the KPU.

``kpu_row`` counts rows of 64 bytes in KPU RAM; all else is as in ``elementwise.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import elementwise
from .elementwise import ArraySpec, CpuLayer
from .layer import DType, KpuTensor, MainTensor, Tensor

_POOL_LIMIT = 1 << 28  # steps of one pool: more than a board has time for
_LONGEST_SIDE = 2048  # of a pooled map: the KPU's own end at 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class GlobalAveragePool(CpuLayer):
    """The mean of each channel's ``kernel_size`` pixels, float32."""

    type_id: ClassVar[int] = 5
    body: ClassVar[str] = "4I"
    in_place: ClassVar[bool] = True

    input: int
    output: int
    kernel_size: int
    channels: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "float32", (self.channels, self.kernel_size)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "float32", (self.channels, 1, 1)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0].mean(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedMaxPool(CpuLayer):
    """The greatest byte of each window; pixels outside the map do not count."""

    type_id: ClassVar[int] = 8
    body: ClassVar[str] = "14I"
    dtype: ClassVar[DType] = "uint8"

    input: int
    output: int
    in_width: int
    in_height: int
    in_channels: int
    out_width: int
    out_height: int
    out_channels: int
    kernel_width: int
    kernel_height: int
    stride_width: int
    stride_height: int
    pad_width: int
    pad_height: int

    def reads(self) -> tuple[Tensor, ...]:
        shape = (self.in_channels, self.in_height, self.in_width)
        return (MainTensor(self.input, self.dtype, shape),)

    def writes(self) -> tuple[Tensor, ...]:
        shape = (self.out_channels, self.out_height, self.out_width)
        return (MainTensor(self.output, self.dtype, shape),)

    def problem(self) -> str | None:
        if self.in_channels != self.out_channels:
            return f"out_channels is {self.out_channels}, in_channels {self.in_channels}"
        for side in ("width", "height"):
            size, count, kernel, stride, pad = (
                getattr(self, f"{name}_{side}") for name in ("in", "out", "kernel", "stride", "pad")
            )
            if max(size, count) > _LONGEST_SIDE or stride == 0:
                return (
                    f"stride_{side} {stride} from {size} to {count} pixels: sides end at "
                    f"{_LONGEST_SIDE}, strides begin at 1"
                )
            if not pad < kernel or (count - 1) * stride - pad >= size:
                return (
                    f"kernel_{side} {kernel}, stride_{side} {stride} and pad_{side} {pad} put "
                    f"windows beside the {size} pixels"
                )
        steps = min(self.kernel_width, self.in_width) * min(self.kernel_height, self.in_height)
        if steps * self.out_width * self.out_height * self.out_channels > _POOL_LIMIT:
            return f"a pool of {self.kernel_width}x{self.kernel_height} never ends"
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        rows, columns = self.windows("height"), self.windows("width")
        wide = np.stack([inputs[0][..., a:b].max(3) for a, b in columns], 3)
        return np.stack([wide[:, :, a:b].max(2) for a, b in rows], 2)

    def windows(self, side: str) -> list[tuple[int, int]]:
        """First and last pixel (exclusive) of each window along one side, cut to the map."""
        size, count, kernel, stride, pad = (
            getattr(self, f"{name}_{side}") for name in ("in", "out", "kernel", "stride", "pad")
        )
        starts = [i * stride - pad for i in range(count)]
        return [(max(0, start), min(size, start + kernel)) for start in starts]


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(QuantizedMaxPool):
    """The mean of each window, float32, over the pixels inside the map.

    ``activation`` is not executed by the firmware.
    """

    type_id: ClassVar[int] = 9
    body: ClassVar[str] = "15I"
    dtype: ClassVar[DType] = "float32"

    activation: int = 0

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        rows, columns = self.windows("height"), self.windows("width")
        wide = np.stack([inputs[0][..., a:b].mean(3) for a, b in columns], 3)
        return np.stack([wide[:, :, a:b].mean(2) for a, b in rows], 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class FullyConnected(CpuLayer):
    """``weights @ x + bias``, float32 ``[out, in]`` and ``[out]``.

    ``activation`` is 0 for none, 1 for ReLU and 2 for ReLU6.
    """

    type_id: ClassVar[int] = 18
    body: ClassVar[str] = "5I"

    input: int
    output: int
    in_channels: int
    out_channels: int
    activation: int
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def arrays(cls, numbers: Mapping[str, Any]) -> tuple[ArraySpec, ...]:
        outputs = numbers["out_channels"]
        return ("weights", "<f4", (outputs, numbers["in_channels"])), ("bias", "<f4", (outputs,))

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "float32", (self.in_channels,)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "float32", (self.out_channels,)),)

    def problem(self) -> str | None:
        if self.activation > 2:
            return f"activation is {self.activation}: 0, 1 and 2 are known"
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        y = inputs[0] @ self.weights.T + self.bias
        if self.activation == 0:
            return y
        return np.clip(y, 0, 6 if self.activation == 2 else None)

    @property
    def macs(self) -> int:
        return self.in_channels * self.out_channels


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedConcat(CpuLayer):
    """Bytes one after another: ``ranges`` uint32 ``[inputs, 2]`` are addresses and sizes."""

    type_id: ClassVar[int] = 17
    body: ClassVar[str] = "2I"
    dtype: ClassVar[DType] = "uint8"

    output: int
    input_count: int
    ranges: np.ndarray

    @classmethod
    def arrays(cls, numbers: Mapping[str, Any]) -> tuple[ArraySpec, ...]:
        return (("ranges", "<u4", (numbers["input_count"], 2)),)

    def problem(self) -> str | None:
        if (self.ranges[:, 1] % np.dtype(self.dtype).itemsize).any():
            return f"sizes {self.ranges[:, 1].tolist()} are not whole {self.dtype}"
        return None

    def reads(self) -> tuple[Tensor, ...]:
        itemsize = np.dtype(self.dtype).itemsize
        return tuple(
            MainTensor(int(start), self.dtype, (int(size) // itemsize,))
            for start, size in self.ranges
        )

    def writes(self) -> tuple[Tensor, ...]:
        count = int(self.ranges[:, 1].sum(dtype=np.int64)) // np.dtype(self.dtype).itemsize
        return (MainTensor(self.output, self.dtype, (count,)),)

    def output_shape(self, inputs: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
        """Channel after channel, if all maps are of one size."""
        if all(len(shape) == 3 and shape[1:] == inputs[0][1:] for shape in inputs):
            return sum(shape[0] for shape in inputs), *inputs[0][1:]
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(inputs, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(QuantizedConcat):
    """As :class:`QuantizedConcat`, of float32; sizes are in bytes all the same."""

    type_id: ClassVar[int] = 16
    dtype: ClassVar[DType] = "float32"


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(CpuLayer):
    """float32 ``[channels, height, width]`` to TensorFlow's ``[height, width, channels]``."""

    type_id: ClassVar[int] = 20
    body: ClassVar[str] = "5I"

    input: int
    output: int
    width: int
    height: int
    channels: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "float32", (self.channels, self.height, self.width)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "float32", (self.height, self.width, self.channels)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0].transpose(0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResizeNearest(CpuLayer):
    """Pixel i of an output side is pixel ``i * in // out`` of the input's; float32 maps."""

    type_id: ClassVar[int] = 22
    body: ClassVar[str] = "8I"
    dtype: ClassVar[DType] = "float32"

    input: int
    output: int
    width: int
    height: int
    channels: int
    out_width: int
    out_height: int
    align_corners: int = 0

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, self.dtype, (self.channels, self.height, self.width)),)

    def writes(self) -> tuple[Tensor, ...]:
        shape = (self.channels, self.out_height, self.out_width)
        return (MainTensor(self.output, self.dtype, shape),)

    def problem(self) -> str | None:
        if self.align_corners:
            return "align_corners is set: what the firmware does then is not known"
        return None

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        rows = np.arange(self.out_height) * self.height // self.out_height
        columns = np.arange(self.out_width) * self.width // self.out_width
        return inputs[0][:, :, rows][..., columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedResizeNearest(ResizeNearest):
    """As :class:`ResizeNearest`, on bytes."""

    type_id: ClassVar[int] = 23
    dtype: ClassVar[DType] = "uint8"


@dataclass(frozen=True, kw_only=True, eq=False)
class AddPadding(CpuLayer):
    """A vector for the KPU, whose maps are 4x4 or more: each byte at (0, 0) of a 4x4 map.

    The other pixels are 0 here; a 1x1 convolution never mixes them with the first.
    """

    type_id: ClassVar[int] = 10241
    body: ClassVar[str] = "3I"

    input: int
    kpu_row: int
    channels: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "uint8", (self.channels,)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (KpuTensor(self.kpu_row, (self.channels, 4, 4)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        maps = np.zeros((*inputs[0].shape, 4, 4), np.uint8)
        maps[..., 0, 0] = inputs[0]
        return maps


@dataclass(frozen=True, kw_only=True, eq=False)
class RemovePadding(CpuLayer):
    """The reverse of :class:`AddPadding`, from packed 4x4 maps in main memory."""

    type_id: ClassVar[int] = 10242
    body: ClassVar[str] = "3I"
    in_place: ClassVar[bool] = True

    input: int
    output: int
    channels: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "uint8", (self.channels, 16)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.output, "uint8", (self.channels, 1, 1)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0][:, :, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload(CpuLayer):
    """Packed uint8 ``[channels, height, width]`` from main memory into KPU RAM."""

    type_id: ClassVar[int] = 10243
    body: ClassVar[str] = "5I"

    input: int
    kpu_row: int
    width: int
    height: int
    channels: int

    def reads(self) -> tuple[Tensor, ...]:
        return (MainTensor(self.input, "uint8", (self.channels, self.height, self.width)),)

    def writes(self) -> tuple[Tensor, ...]:
        return (KpuTensor(self.kpu_row, (self.channels, self.height, self.width)),)

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return inputs[0]


CPU_LAYERS: Mapping[int, type[CpuLayer]] = {
    layer.type_id: layer
    for layer in (
        *(elementwise.Add, elementwise.QuantizedAdd, elementwise.Quantize),
        *(elementwise.Dequantize, elementwise.ChannelwiseDequantize, elementwise.Requantize),
        *(elementwise.L2Normalize, elementwise.Softmax, elementwise.Logistic),
        *(GlobalAveragePool, QuantizedMaxPool, AveragePool, FullyConnected, QuantizedConcat),
        *(Concat, Flatten, ResizeNearest, QuantizedResizeNearest),
        *(AddPadding, RemovePadding, Upload),
    )
}
