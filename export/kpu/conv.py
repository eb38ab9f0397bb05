"""A convolution of the KPU with typed fields; ``registers.py`` makes register words of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from .arithmetic import Convolution, Pool
from .layer import KmodelError, KpuTensor, Layer, MainTensor, Tensor, round_up
from .tables import ACTIVATION_BYTES, Activation, BatchNorm

_LOAD_BYTES = 30 * 1024  # of weights that the KPU takes at a time
_LOADS = 64  # that one layer may have
_DMA_BYTES = 8
_PART = 8  # channels: whole rows of KPU RAM at any width, and whole transfers to main memory


@dataclass(frozen=True, kw_only=True, eq=False)
class KpuConv(Layer):
    """1x1 or 3x3 convolution, batch normalisation, activation and pool, all on the KPU.

    Args:
        src_row, dst_row: where input and output lie in KPU RAM, in rows of 64 bytes.
        height, width: of the input. The output is as large, before the pool.
        weights: uint8 ``[out, in, k, k]``, or ``[channels, 1, k, k]`` if ``depthwise``; k is 1 or
            3.
        pad_value: the byte around the input: its zero point.
        arg_x, shr_x, arg_w, shr_w, arg_add: zero points, as ``arithmetic.py`` says. With weights of
            zero point zw and an input of zero point zx: ``arg_x = -zw << shr_x``,
            ``arg_w = -zx << shr_w`` and ``arg_add = k * k * zw * zx``. (Real files use a shift of
            15 or 0.)
        bn, activation, pool: what follows.
        main_out: also send the output, packed ``[channels, height, width]``, to this address in
            main memory; up to 7 bytes behind it are destroyed (8 bytes go at a time). None: do not.
    """

    type_id: ClassVar[int] = 10240
    on_kpu: ClassVar[bool] = True

    src_row: int
    dst_row: int
    height: int
    width: int
    weights: np.ndarray
    bn: BatchNorm
    activation: Activation
    depthwise: bool = False
    pool: Pool = Pool.NONE
    pad_value: int = 0
    arg_x: int = 0
    shr_x: int = 0
    arg_w: int = 0
    shr_w: int = 0
    arg_add: int = 0
    main_out: int | None = None

    def __post_init__(self) -> None:
        shape = self.weights.shape
        kernels = ((1, 1), (3, 3))
        if self.weights.dtype != np.uint8 or len(shape) != 4 or shape[2:] not in kernels:
            raise KmodelError(
                f"weights must be uint8 [out, in, k, k] with k 1 or 3, got {self.weights.dtype} "
                f"{list(shape)}"
            )
        if self.depthwise and shape[1] != 1:
            raise KmodelError(f"depthwise weights must be [channels, 1, k, k], got {list(shape)}")
        if len(self.bn.mul) != shape[0]:
            raise KmodelError(f"bn has {len(self.bn.mul)} channels, weights {shape[0]}")
        if min(self.out_height, self.out_width) < 1:
            raise KmodelError(f"pool {self.pool.name} leaves nothing of {self.height}x{self.width}")

    @property
    def kernel(self) -> int:
        return self.weights.shape[-1]

    @property
    def in_channels(self) -> int:
        return self.weights.shape[0 if self.depthwise else 1]

    @property
    def out_channels(self) -> int:
        return self.weights.shape[0]

    @property
    def out_height(self) -> int:
        return self.height // self.pool.stride

    @property
    def out_width(self) -> int:
        return self.width // self.pool.stride

    @property
    def channels_per_load(self) -> int:
        """Output channels whose weights the KPU takes at a time."""
        fit = _LOAD_BYTES // (self.kernel**2 * self.in_channels)
        return self.out_channels if self.depthwise else min(self.out_channels, fit)

    @property
    def most_channels(self) -> int:
        """Output channels that one layer can have: its weights come in 64 loads at most."""
        return self.out_channels if self.depthwise else _LOADS * self.channels_per_load

    def parts(self) -> tuple[KpuConv, ...]:
        """The same convolution as layers that the KPU can take: one, almost always.

        Where the weights need more than 64 loads (3x3 with some 2 MB of them), each part computes
        some of the output channels. They need no joining: in both memories the channels of a part
        begin where those of the one before end.
        """
        step = self.most_channels // _PART * _PART
        if self.out_channels <= self.most_channels:
            return (self,)
        parts = []
        for start in range(0, self.out_channels, step):
            some, before = slice(start, start + step), (start, self.out_height, self.out_width)
            bn = BatchNorm(self.bn.mul[some], self.bn.shift[some], self.bn.add[some])
            main_out = None if self.main_out is None else self.main_out + int(np.prod(before))
            parts.append(
                replace(
                    self,
                    weights=self.weights[some],
                    bn=bn,
                    dst_row=self.dst_row + KpuTensor(0, before).rows,
                    main_out=main_out,
                )
            )
        return tuple(parts)

    @property
    def source(self) -> KpuTensor:
        return KpuTensor(self.src_row, (self.in_channels, self.height, self.width))

    @property
    def destination(self) -> KpuTensor:
        return KpuTensor(self.dst_row, (self.out_channels, self.out_height, self.out_width))

    def reads(self) -> tuple[Tensor, ...]:
        return (self.source,)

    def writes(self) -> tuple[Tensor, ...]:
        """KPU RAM gets the output in any case [inferred: published files never read it there]."""
        if self.main_out is None:
            return (self.destination,)
        shape = self.destination.shape
        size = int(np.prod(shape))
        extra = round_up(size, _DMA_BYTES) - size
        return self.destination, MainTensor(self.main_out, "uint8", shape, extra)

    @cached_property
    def _convolution(self) -> Convolution:
        return Convolution(
            self.weights,
            self.depthwise,
            self.pad_value,
            self.arg_x,
            self.shr_x,
            self.arg_w,
            self.shr_w,
            self.arg_add,
            self.bn,
            self.activation,
            self.pool,
        )

    def compute(self, *inputs: np.ndarray) -> np.ndarray:
        return self._convolution(inputs[0])

    @property
    def macs(self) -> int:
        """At the input's resolution, which is what the KPU computes before it picks or pools."""
        return self.weights.size * self.height * self.width

    @property
    def constant_bytes(self) -> int:
        return self.weights.size + 8 * self.out_channels + ACTIVATION_BYTES
