"""A kmodel v3 file: read with every offset and size checked, written with every alignment.

All little-endian::

    header          u32 x 7: version 3, flags (bit 0: 8-bit mode), arch 0, layers, max start
                    address, bytes of main memory, outputs
    outputs         {u32 address in main memory, u32 bytes}
    layer headers   {u32 type, u32 bytes of its body}
    bodies          u32 flags first; each but the first begins at a multiple of 8

A convolution's body goes on with five u32: its address in main memory, then where in the file its
registers, weights, batch normalisation and activation table begin. They follow in this order, each
aligned: to 8, 128, 128 and 256 bytes.

Published files may end up to 8 bytes before or behind the end of the last body, which is accepted;
a written file ends there. Bits of the registers that no field names, and the undefined top bits of
batch normalisation, are written as 0. All else survives reading and writing to the byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from math import prod
from typing import Any

import numpy as np

from .conv import KpuConv
from .elementwise import CpuLayer
from .layer import MAIN_BYTES, KmodelError, KpuTensor, Layer, MainTensor
from .maps import CPU_LAYERS, FullyConnected
from .registers import WORDS, build_conv, pack_registers, unpack_registers
from .tables import ACTIVATION_BYTES

_HEADER = struct.Struct("<7I")
_PAIR = struct.Struct("<2I")
_CONV_BODY = struct.Struct("<6I")
_MAIN_MEM_OUT = 1
_SLACK = 8
_BODY_ALIGNMENT = 8
_ALIGNMENTS = {"registers": 8, "weights": 128, "bn": 128, "activation": 256}
_OTHERS = {
    4: "nncase 0.2 wrote it, and MaixPy loads it if built with MICROPYTHON_KMODEL_V4_SUPPORT",
    5: "nncase 1.x wrote it, and nncase 1.9's simulator and the standalone SDK load it",
}


@dataclass(frozen=True)
class Output:
    """Where in main memory a result of the kmodel lies."""

    address: int
    size_bytes: int


@dataclass(frozen=True, eq=False)
class Kmodel:
    """A whole kmodel.

    Args:
        layers: in the order in which they run. The first is a convolution, fed with an image, or a
            :class:`FullyConnected`, fed with numbers.
        outputs: where the results lie when all have run.
        main_bytes: size of the main buffer.
        max_start_address: kept as found; nothing reads it.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...]
    main_bytes: int
    max_start_address: int = 0

    def __post_init__(self) -> None:
        if not self.layers or not isinstance(self.layers[0], KpuConv | FullyConnected):
            first = layer_name(0, self.layers[0]) if self.layers else "no layer"
            raise KmodelError(f"{first}: a kmodel begins with KpuConv or FullyConnected")

    @property
    def input(self) -> KpuTensor | MainTensor:
        """Where the input goes; its shape is the input's."""
        return self.layers[0].reads()[0]


def layer_name(index: int, layer: Layer | type[Layer]) -> str:
    """How messages and tables call a layer."""
    kind = layer if isinstance(layer, type) else type(layer)
    return f"layer {index} ({kind.__name__})"


def read_kmodel(data: bytes) -> Kmodel:
    """Read a kmodel v3.

    Raises:
        KmodelError: it is another format or version, or broken; the layer and the field are named.
    """
    _check_version(data)
    if len(data) < _HEADER.size:
        raise KmodelError(f"a kmodel has a header of {_HEADER.size} bytes, this has {len(data)}")
    if len(data) > MAIN_BYTES:
        raise KmodelError(f"more than {MAIN_BYTES} bytes: a K210 has no more main memory")
    _, flags, arch, layer_count, start, main_bytes, output_count = _HEADER.unpack_from(data)
    if flags != 1 or arch != 0:
        raise KmodelError(f"header: flags {flags} and arch {arch}, known are 1 (8-bit mode) and 0")
    if main_bytes > MAIN_BYTES:
        raise KmodelError(f"header: main memory of {main_bytes} bytes, a K210 has {MAIN_BYTES}")
    pairs = output_count + layer_count
    position = _HEADER.size + pairs * _PAIR.size
    if layer_count == 0 or output_count == 0 or position > len(data):
        raise KmodelError(
            f"header: {layer_count} layers and {output_count} outputs in {len(data)} bytes"
        )
    table = list(_PAIR.iter_unpack(data[_HEADER.size : position]))
    outputs = tuple(Output(*pair) for pair in table[:output_count])
    for index, output in enumerate(outputs):
        if output.size_bytes == 0 or output.address + output.size_bytes > main_bytes:
            raise KmodelError(
                f"output {index}: {output.size_bytes} bytes at {output.address} of {main_bytes}"
            )
    layers = []
    for index, (type_id, size) in enumerate(table[output_count:]):
        last = index == layer_count - 1
        layers.append(_read_layer(index, type_id, data, position, size, last))
        position += size
    if position + _SLACK < len(data):
        raise KmodelError(f"{len(data) - position} bytes behind the last layer")
    return Kmodel(tuple(layers), outputs, main_bytes, start)


def write_kmodel(kmodel: Kmodel) -> bytes:
    """The bytes of a kmodel v3.

    Raises:
        KmodelError: a number does not fit its field.
    """
    position = _HEADER.size + _PAIR.size * (len(kmodel.outputs) + len(kmodel.layers))
    headers, bodies = [], []
    for index, layer in enumerate(kmodel.layers):
        try:
            body = _write_conv(layer, position) if isinstance(layer, KpuConv) else _write_cpu(layer)
            body += bytes(-(position + len(body)) % _BODY_ALIGNMENT)
        except (KmodelError, struct.error) as error:
            raise KmodelError(f"{layer_name(index, layer)}: {error}") from None
        headers.append(_PAIR.pack(layer.type_id, len(body)))
        bodies.append(body)
        position += len(body)
    counts = len(kmodel.layers), kmodel.max_start_address, kmodel.main_bytes, len(kmodel.outputs)
    outputs = [_PAIR.pack(output.address, output.size_bytes) for output in kmodel.outputs]
    return b"".join([_HEADER.pack(3, 1, 0, *counts), *outputs, *headers, *bodies])


def _check_version(data: bytes) -> None:
    first, second = (data[i : i + 4] for i in (0, 4))
    if first == b"LDMK" and len(second) == 4:
        version = int.from_bytes(second, "little")
        known = _OTHERS.get(version, "no tool of edgeark's knows it")
        raise KmodelError(f"a kmodel v{version}: {known}; edgeark runs v3")
    if first != b"\x03\0\0\0":
        raise KmodelError("not a kmodel: it begins with neither version 3 nor LDMK")


def _read_layer(
    index: int, type_id: int, data: bytes, position: int, size: int, last: bool
) -> Layer:
    kind = KpuConv if type_id == KpuConv.type_id else CPU_LAYERS.get(type_id)
    if kind is None:
        raise KmodelError(f"layer {index}: unknown type {type_id}; firmware for v3 stops there too")
    end = position + size
    try:
        if end > len(data) + (_SLACK if last else 0):
            raise KmodelError(f"a body of {size} bytes at {position} of {len(data)}")
        if issubclass(kind, KpuConv):
            layer: Layer = _read_conv(data, position, end)
        else:
            layer = _read_cpu(kind, data[position:end])
        if problem := layer.problem():
            raise KmodelError(problem)
    except KmodelError as error:
        raise KmodelError(f"{layer_name(index, kind)}: {error}") from None
    return layer


def _read_cpu(kind: type[CpuLayer], body: bytes) -> CpuLayer:
    numbers = struct.Struct(f"<I{kind.body}")
    if len(body) < numbers.size:
        raise KmodelError(f"a body of {len(body)} bytes, its fields need {numbers.size}")
    names = [field.name for field in fields(kind)]
    values: dict[str, Any] = dict(zip(names, numbers.unpack_from(body), strict=False))
    position = numbers.size
    for name, dtype, shape in kind.arrays(values):
        count = prod(shape)
        end = position + count * np.dtype(dtype).itemsize
        if end > len(body):
            raise KmodelError(f"{name} of {list(shape)} ends at {end} of {len(body)} bytes")
        values[name] = np.frombuffer(body, dtype, count, position).reshape(shape)
        position = end
    return kind(**values)


def _write_cpu(layer: Layer) -> bytes:
    if not isinstance(layer, CpuLayer):
        raise KmodelError("no layer of kmodel v3")
    names = [field.name for field in fields(layer)]
    specs = layer.arrays(vars(layer))
    numbers = [getattr(layer, name) for name in names[: len(names) - len(specs)]]
    parts = [struct.pack(f"<I{layer.body}", *numbers)]
    for name, dtype, shape in specs:
        array = getattr(layer, name)
        if array.shape != shape:
            raise KmodelError(f"{name} is {list(array.shape)}, its layer says {list(shape)}")
        parts.append(array.astype(dtype).tobytes())
    return b"".join(parts)


def _read_conv(data: bytes, position: int, end: int) -> KpuConv:
    if end < position + _CONV_BODY.size or end > len(data):
        raise KmodelError(f"a body of {end - position} bytes at {position} of {len(data)}")
    flags, main_out, *offsets = _CONV_BODY.unpack_from(data, position)

    def block(name: str, size: int) -> bytes:
        offset = dict(zip(_ALIGNMENTS, offsets, strict=True))[name]
        if not position <= offset <= end - size:
            raise KmodelError(f"{name}: {size} bytes at {offset}, its body is {position}..{end}")
        if offset % _ALIGNMENTS[name]:
            raise KmodelError(f"{name} at {offset}: no multiple of {_ALIGNMENTS[name]}")
        return data[offset : offset + size]

    words = block("registers", 8 * WORDS)
    found = unpack_registers(words)
    return build_conv(
        words,
        found,
        block("weights", prod(found.weights_shape)),
        block("bn", 8 * found.out_channels),
        block("activation", ACTIVATION_BYTES),
        flags=flags,
        main_out=main_out if flags & _MAIN_MEM_OUT else None,
    )


def _write_conv(conv: KpuConv, position: int) -> bytes:
    blocks = {
        "registers": pack_registers(conv),
        "weights": conv.weights.tobytes(),
        "bn": conv.bn.pack(),
        "activation": conv.activation.pack(),
    }
    body, offsets = bytearray(_CONV_BODY.size), []
    for name, block in blocks.items():
        body += bytes(-(position + len(body)) % _ALIGNMENTS[name])
        offsets.append(position + len(body))
        body += block
    to_main = conv.main_out is not None
    flags = conv.flags & ~_MAIN_MEM_OUT | (_MAIN_MEM_OUT if to_main else 0)
    _CONV_BODY.pack_into(body, 0, flags, conv.main_out or 0, *offsets)
    return bytes(body)
