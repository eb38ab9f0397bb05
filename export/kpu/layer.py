"""The two memories of a K210, tensors in them, and what every layer can say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from ...errors import EdgearkError

ROW_BYTES = 64
KPU_ROWS = 32768  # 2 MiB
MAIN_BYTES = 6 << 20
MAIXPY_BYTES = 3_500_000  # of these, left by MaixPy's firmware: Sipeed, bbs.sipeed.com/t/topic/691

DType = Literal["uint8", "float32"]


class KmodelError(EdgearkError):
    """A kmodel that is broken, or that says what the KPU or its firmware cannot do."""


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is no smaller."""
    return -(-value // multiple) * multiple


class RowLayout(NamedTuple):
    """How the KPU lays maps of one width into rows of 64 bytes.

    Narrow maps lie side by side: ``group`` channels share a row, each ``pitch`` bytes wide. A wide
    map takes ``row_len`` rows a line. From a tensor's start to channel c, line y, column x it is::

        (c // group) * row_len * height * 64 + (c % group) * pitch + y * row_len * 64 + x
    """

    group: int
    row_len: int

    @property
    def pitch(self) -> int:
        return self.row_len * ROW_BYTES // self.group

    @classmethod
    def of(cls, width: int) -> RowLayout:
        if width <= 16:
            return cls(4, 1)
        return cls(2, 1) if width <= 32 else cls(1, -(-width // ROW_BYTES))


@dataclass(frozen=True)
class MainTensor:
    """A packed array in main memory; ``address`` is an offset into the kmodel's main buffer.

    ``extra_bytes`` behind it are destroyed when it is written.
    """

    address: int
    dtype: DType
    shape: tuple[int, ...]
    extra_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def end(self) -> int:
        return self.address + self.size_bytes


@dataclass(frozen=True)
class KpuTensor:
    """uint8 maps ``(channels, height, width)`` in KPU RAM, from 64-byte row ``row`` on."""

    row: int
    shape: tuple[int, int, int]

    @property
    def rows(self) -> int:
        channels, height, width = self.shape
        layout = RowLayout.of(width)
        return layout.row_len * height * -(-channels // layout.group)

    @property
    def end(self) -> int:
        return self.row + self.rows


Tensor = MainTensor | KpuTensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer(ABC):
    """One layer. ``flags`` are kept as found; only a convolution's bit 0 has a known meaning."""

    type_id: ClassVar[int]
    on_kpu: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False  # so the output has the input's shape
    in_place: ClassVar[bool] = False  # the output may begin where an input does

    flags: int = 0

    @abstractmethod
    def reads(self) -> tuple[Tensor, ...]:
        """The tensors that :meth:`compute` takes."""

    @abstractmethod
    def writes(self) -> tuple[Tensor, ...]:
        """Where the result goes, all of it to each place."""

    @abstractmethod
    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        """The result for a batch: arrays ``[N, *shape]`` in, one out."""

    def output_shape(self, inputs: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
        """The output's shape from the inputs', where the file itself says no more than a count."""
        return inputs[0] if self.elementwise else None

    def problem(self) -> str | None:
        """What is wrong that :meth:`reads` and :meth:`writes` do not show; it names the field."""
        return None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return 0

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and tables."""
        return 0
