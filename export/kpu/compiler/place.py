"""Layers that wait for their addresses, and how they get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from ..conv import KpuConv
from ..format import Kmodel, Output
from ..layer import KPU_ROWS, ROW_BYTES, KmodelError, KpuTensor, Layer, round_up
from ..registers import pack_registers
from .allocate import Block, allocate, peak
from .steps import Shape

_ALIGNMENT = 8  # of main memory; the KPU writes 8 bytes at a time
Form = Literal["kpu", "bytes", "float"]


@dataclass(eq=False)
class Place:
    """Where a value lies in one form, from layer ``first`` to layer ``last``, both included."""

    form: Form
    shape: Shape
    first: int
    last: int

    @property
    def count(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """In rows of KPU RAM, or bytes."""
        if self.form == "kpu":
            channels, height, width = self.shape
            return KpuTensor(0, (channels, height, width)).rows
        return round_up(self.count * (4 if self.form == "float" else 1), _ALIGNMENT)


Address = Callable[[Place], int]


@dataclass(frozen=True)
class Planned:
    """A layer without addresses. ``name`` is that of the ONNX node, or says what it is for."""

    name: str
    build: Callable[[Address], Layer]


def place(
    planned: Sequence[Planned], places: Sequence[Place], outputs: Sequence[Place]
) -> tuple[Kmodel, tuple[str, ...]]:
    """The kmodel of layers that use ``places``, and the name of each of its layers.

    A convolution that is too large for one layer becomes several of one name.

    Raises:
        KmodelError: the maps do not fit the KPU's RAM, or a layer its registers.
    """
    on_kpu = [p for p in places if p.form == "kpu"]
    in_main = [p for p in places if p.form != "kpu"]
    rows, addresses = _allocated(on_kpu)
    main_bytes, more = _allocated(in_main)
    if rows > KPU_ROWS:
        raise KmodelError(_too_large(planned, on_kpu))
    addresses |= more
    layers: list[Layer] = []
    names: list[str] = []
    for each in planned:
        layer = each.build(addresses.__getitem__)
        parts = layer.parts() if isinstance(layer, KpuConv) else (layer,)
        try:
            for part in parts:
                if isinstance(part, KpuConv):
                    pack_registers(part)
        except KmodelError as error:
            raise KmodelError(f"{each.name}: {error}; use fewer channels") from None
        layers += parts
        names += [each.name] * len(parts)
    results = tuple(Output(addresses[p], 4 * p.count) for p in outputs)
    return Kmodel(tuple(layers), results, main_bytes), tuple(names)


def _allocated(places: Sequence[Place]) -> tuple[int, dict[Place, int]]:
    blocks = [Block(p.size, p.first, p.last) for p in places]
    offsets = allocate(blocks)
    return peak(blocks, offsets), dict(zip(places, offsets, strict=True))


def _too_large(planned: Sequence[Planned], on_kpu: Sequence[Place]) -> str:
    needs = [
        sum(p.size for p in on_kpu if p.first <= index <= p.last) for index in range(len(planned))
    ]
    worst = int(np.argmax(needs))
    need = needs[worst] * ROW_BYTES / 2**20
    return (
        f"{planned[worst].name}: the maps that are in use there take {need:.2f} MiB of the KPU's "
        f"2; use a smaller input or fewer channels"
    )
