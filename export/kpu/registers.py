"""The twelve 64-bit words that tell the KPU about a convolution; the only place that knows bits.

A field ``(word, low, high)`` is bits ``low`` up to, not including, ``high``. The first group says
what a convolution is; the second follows from it, and a file that says otherwise is refused, since
nobody knows what the KPU would do. The firmware overwrites the addresses of weights and tables and
the two interrupt switches before each run: they are written as 0 and never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import Pool
from .conv import KpuConv
from .layer import KmodelError, RowLayout
from .tables import Activation, BatchNorm

WORDS = 12

_OWN = {
    "depthwise": (0, 3, 4),
    "src_row": (1, 0, 15),
    "dst_row": (1, 32, 47),
    "in_channels": (2, 0, 10),
    "out_channels": (2, 32, 42),
    "in_width": (3, 0, 10),
    "in_height": (3, 10, 19),
    "kernel": (4, 0, 3),
    "pool": (4, 4, 8),
    "pad_value": (4, 24, 32),
    "shr_w": (9, 0, 4),
    "shr_x": (9, 4, 8),
    "arg_w": (9, 8, 32),
    "arg_x": (9, 32, 56),
    "arg_add": (10, 0, 40),
}
_DERIVED = {
    "ram_flag": (0, 1, 2),
    "full_add": (0, 2, 3),
    "out_channels_per_load": (2, 48, 58),
    "out_width": (3, 32, 42),
    "out_height": (3, 42, 51),
    "pad_type": (4, 3, 4),
    "first_stride": (4, 8, 9),
    "bypass": (4, 9, 10),
    "load_para": (4, 10, 11),
    "dma_burst": (4, 16, 24),
    "load_coor": (5, 0, 1),
    "load_time": (5, 1, 7),
    "para_size": (5, 15, 32),
    "in_channel_rows": (7, 0, 15),
    "in_row_length": (7, 16, 20),
    "coef_size": (7, 20, 28),
    "in_group": (7, 28, 31),
    "load_act": (7, 31, 32),
    "out_channel_rows": (8, 0, 15),
    "out_row_length": (8, 16, 20),
    "out_group": (8, 20, 23),
    "out_map_size": (11, 16, 32),
    "out_size": (11, 32, 64),
}
_FIELDS = {**_OWN, **_DERIVED}
_SIGNED = frozenset({"arg_w", "arg_x", "arg_add"})
_MINUS_ONE = frozenset(
    {
        *("in_channels", "out_channels", "out_channels_per_load", "load_time"),
        *("in_width", "in_height", "out_width", "out_height", "out_map_size", "out_size"),
    }
)
_CUT = frozenset({"out_map_size"})  # stored without what does not fit


@dataclass(frozen=True)
class ConvRegisters:
    """What a convolution's registers say: all of a :class:`KpuConv` but its arrays."""

    depthwise: bool
    src_row: int
    dst_row: int
    in_channels: int
    out_channels: int
    width: int
    height: int
    kernel: int
    pool: Pool
    pad_value: int
    shr_w: int
    shr_x: int
    arg_w: int
    arg_x: int
    arg_add: int

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        per_output = 1 if self.depthwise else self.in_channels
        return self.out_channels, per_output, self.kernel, self.kernel


def pack_registers(conv: KpuConv) -> bytes:
    """96 bytes.

    Raises:
        KmodelError: a field is out of its range.
    """
    words = [0] * WORDS
    for name, value in _values(conv).items():
        word, low, high = _FIELDS[name]
        words[word] |= _encoded(name, value, high - low) << low
    return np.array(words, "<u8").tobytes()


def unpack_registers(data: bytes) -> ConvRegisters:
    """What 96 bytes say; :func:`build_conv` has to follow, once the arrays are known."""
    fields = _decoded(data, _OWN)
    if fields["kernel"] not in (0, 1):
        raise KmodelError(f"kernel is {fields['kernel']}: 0 is 1x1 and 1 is 3x3")
    if fields["pool"] not in tuple(Pool):
        raise KmodelError(f"pool is {fields['pool']}: 0 to {max(Pool)} are known")
    if fields["depthwise"] and fields["in_channels"] != fields["out_channels"]:
        raise KmodelError(
            f"depthwise with {fields['in_channels']} channels in and {fields['out_channels']} out"
        )
    return ConvRegisters(
        depthwise=bool(fields.pop("depthwise")),
        width=fields.pop("in_width"),
        height=fields.pop("in_height"),
        kernel=3 if fields.pop("kernel") else 1,
        pool=Pool(fields.pop("pool")),
        **fields,
    )


def build_conv(
    data: bytes,
    found: ConvRegisters,
    weights: bytes,
    bn: bytes,
    activation: bytes,
    **memory: Any,
) -> KpuConv:
    """The convolution of 96 bytes and its arrays.

    Args:
        data: the registers, from which :func:`unpack_registers` made ``found``.
        found: what they say.
        weights: one byte each.
        bn: 8 bytes a channel.
        activation: the table.
        memory: what the file says beside them (``flags``, ``main_out``).

    Raises:
        KmodelError: a derived register contradicts the rest.
    """
    conv = KpuConv(
        src_row=found.src_row,
        dst_row=found.dst_row,
        height=found.height,
        width=found.width,
        weights=np.frombuffer(weights, np.uint8).reshape(found.weights_shape),
        bn=BatchNorm.unpack(bn),
        activation=Activation.unpack(activation),
        depthwise=found.depthwise,
        pool=found.pool,
        pad_value=found.pad_value,
        arg_x=found.arg_x,
        shr_x=found.shr_x,
        arg_w=found.arg_w,
        shr_w=found.shr_w,
        arg_add=found.arg_add,
        **memory,
    )
    check_derived(conv, data)
    return conv


def check_derived(conv: KpuConv, data: bytes) -> None:
    """Raise KmodelError, naming the field, where registers contradict the convolution they gave."""
    found, wanted = _decoded(data, _DERIVED), _decoded(pack_registers(conv), _DERIVED)
    for name, value in found.items():
        if value != wanted[name]:
            raise KmodelError(f"{name} is {value}: the rest of this layer makes it {wanted[name]}")


def _values(conv: KpuConv) -> dict[str, int]:
    own = {name: getattr(conv, name) for name in _OWN.keys() & vars(conv).keys()}
    taps = conv.kernel**2 * (1 if conv.depthwise else conv.in_channels)
    source, destination = RowLayout.of(conv.width), RowLayout.of(conv.out_width)
    out_map = conv.out_width * conv.out_height
    return {
        **own,
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "in_width": conv.width,
        "in_height": conv.height,
        "kernel": int(conv.kernel == 3),
        "ram_flag": 0,
        "full_add": 0,
        "out_channels_per_load": conv.channels_per_load,
        "out_width": conv.out_width,
        "out_height": conv.out_height,
        "pad_type": 0,
        "first_stride": 0,
        "bypass": 0,
        "load_para": 1,
        "dma_burst": 15,
        "load_coor": 1,
        "load_time": -(-conv.out_channels // conv.channels_per_load),
        "para_size": conv.channels_per_load * taps,
        "in_channel_rows": source.row_len * conv.height,
        "in_row_length": source.row_len,
        "coef_size": 0,
        "in_group": source.group,
        "load_act": 1,
        "out_channel_rows": destination.row_len * conv.out_height,
        "out_row_length": destination.row_len,
        "out_group": destination.group,
        "out_map_size": out_map,
        "out_size": out_map * conv.out_channels,
    }


def _encoded(name: str, value: int, bits: int) -> int:
    stored = int(value) - (name in _MINUS_ONE)
    if name in _CUT:
        stored &= (1 << bits) - 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if name in _SIGNED else (0, (1 << bits) - 1)
    if not low <= stored <= high:
        one = name in _MINUS_ONE
        raise KmodelError(f"{name} is {value}: {bits} bits hold {low + one}..{high + one}")
    return stored & ((1 << bits) - 1)


def _decoded(data: bytes, fields: Mapping[str, tuple[int, int, int]]) -> dict[str, int]:
    words = [int(word) for word in np.frombuffer(data, "<u8", WORDS)]
    found = {}
    for name, (word, low, high) in fields.items():
        bits = high - low
        value = words[word] >> low & ((1 << bits) - 1)
        if name in _SIGNED and value >> bits - 1:
            value -= 1 << bits
        found[name] = value + (name in _MINUS_ONE)
    return found
