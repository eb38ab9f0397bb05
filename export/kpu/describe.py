"""What each layer of a kmodel costs: the rows of a placement report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .format import Kmodel
from .layer import KPU_ROWS, ROW_BYTES, KpuTensor, MainTensor, Tensor
from .timing import layer_ms


@dataclass(frozen=True)
class LayerCost:
    """One layer.

    Args:
        index: its place in the kmodel.
        kind: its class, ``KpuConv`` or one of the CPU's.
        place: ``KPU`` or ``CPU``.
        input_shape, output_shape: of one image.
        macs: multiply-accumulates; the KPU's at the input's resolution, which is what it computes.
        constant_bytes: weights and tables.
        kpu_bytes, main_bytes: of KPU RAM and main memory that are in use while it runs: its own
            tensors, and what later layers still need. The peak over all layers is the least memory
            that a better allocator could hope for.
        ms: estimated; ``timing.py`` has the formula.
    """

    index: int
    kind: str
    place: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    constant_bytes: int
    kpu_bytes: int
    main_bytes: int
    ms: float


def describe(kmodel: Kmodel) -> list[LayerCost]:
    """One row a layer, in their order. The kmodel must be one that the simulator accepts."""
    # Backwards: what is alive behind the last layer are the outputs.
    kpu, main = np.zeros(KPU_ROWS, bool), np.zeros(kmodel.main_bytes, bool)
    for output in kmodel.outputs:
        main[output.address : output.address + output.size_bytes] = True
    rows = []
    for index, layer in reversed(list(enumerate(kmodel.layers))):
        reads, writes = layer.reads(), layer.writes()
        _mark(kpu, main, (*reads, *writes), True)
        rows.append(
            LayerCost(
                index=index,
                kind=type(layer).__name__,
                place="KPU" if layer.on_kpu else "CPU",
                input_shape=reads[0].shape,
                output_shape=writes[0].shape,
                macs=layer.macs,
                constant_bytes=layer.constant_bytes,
                kpu_bytes=int(kpu.sum()) * ROW_BYTES,
                main_bytes=int(main.sum()),
                ms=layer_ms(layer),
            )
        )
        _mark(kpu, main, writes, False)
        _mark(kpu, main, reads, True)
    return rows[::-1]


def _mark(kpu: np.ndarray, main: np.ndarray, tensors: Iterable[Tensor], alive: bool) -> None:
    for tensor in tensors:
        if isinstance(tensor, KpuTensor):
            kpu[tensor.row : tensor.end] = alive
        elif isinstance(tensor, MainTensor):
            main[tensor.address : tensor.end] = alive
