"""A kmodel v5 of nncase's as a kmodel v3: its registers, weights and tables in another container.

This is how our arithmetic is checked against nncase's: both run the same convolutions. It knows
networks that are one run of convolutions on the KPU, and behind it dequantisations, means over
whole maps, and a fully connected layer, which nncase runs on the KPU as a convolution of a map that
is padded to 4x4. Our compiler makes the others.

The CPU's part of a v5 file is a program for a stack machine. What is read of it (from files that
nncase wrote, beside its listings of the same programs)::

    02 i32          push a number
    05 f32          push a number
    17 u16 i32      push an address: kind of memory, offset
    31 u8 u8        to a shape register, pop as many sizes
    32 u8 u8        to a padding register, pop as many times three numbers: before, behind, between
    5e u16 ...      do something with tensors; operands are on the stack, shapes in registers:
        03          call a KPU run: u32 function, u16 module, u8 sources, u8 results
        09          copy: u8 type, u8 shape, u8 x 2 strides
        0b          dequantise: u8 x 2 types, u8 shape, u8 x 2 strides
        13          pad: u8 type, u8 shape, u8 x 2 strides, u8 paddings, u8 mode
        14          quantise: as 0b; the numbers are 1 / scale and the zero point
        17          reduce: u8 type, u8 shape, u8 x 2 strides, u8 kind (0: mean), u8 axes, u8 keep

A KPU run is a list of uploads, downloads and convolutions, with addresses in KPU RAM in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from edgeark.export.kpu.conv import KpuConv
from edgeark.export.kpu.elementwise import Dequantize, Quantize
from edgeark.export.kpu.format import Kmodel, Output
from edgeark.export.kpu.kmodel_v5 import Function, Module, read_modules
from edgeark.export.kpu.layer import ROW_BYTES, KmodelError, Layer, round_up
from edgeark.export.kpu.maps import AddPadding, Concat, GlobalAveragePool, RemovePadding
from edgeark.export.kpu.registers import WORDS, build_conv, unpack_registers
from edgeark.export.kpu.tables import ACTIVATION_BYTES

_INPUT, _OUTPUT, _CONSTANTS, _DATA = range(4)  # kinds of memory
_UPLOAD, _DOWNLOAD, _CONVOLUTION = range(3)
_RANGE = struct.Struct("<BBHII")  # kind of memory, type, 0, start, bytes
_COPY_BYTES, _CONVOLUTION_BYTES = 44, 152
_UINT8, _FLOAT32 = 4, 9
_MEAN = 0

_Value = tuple[int, int] | int | float  # an address (kind of memory, offset), or a number
_Range = tuple[int, int, int]  # kind of memory, start, bytes


def transcode(data: bytes) -> Kmodel:
    """A kmodel v5 as v3, with the outputs in the same order.

    Raises:
        KmodelError: it is no v5, or holds what this cannot express; the operation is named.
    """
    modules = read_modules(data)
    main = [module for module in modules if module.kind == "stackvm"]
    if len(main) != 1 or len(main[0].functions) != 1:
        raise KmodelError("a kmodel v5 with one program for the CPU was expected")
    try:
        return _Transcoder(modules, main[0]).kmodel()
    except (struct.error, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise KmodelError(f"the kmodel v5 is broken: {error}") from None


@dataclass(frozen=True)
class _Operation:
    """One operation on tensors: its code, its operands, the stack and the shapes it finds."""

    code: int
    operands: bytes
    stack: list[_Value]
    shapes: dict[int, tuple[int, ...]]
    paddings: dict[int, tuple[int, ...]]


_CALL, _COPY, _DEQUANTIZE, _PAD, _QUANTIZE, _REDUCE = 0x03, 0x09, 0x0B, 0x13, 0x14, 0x17
_OPERANDS = {_CALL: 8, _COPY: 4, _DEQUANTIZE: 5, _PAD: 6, _QUANTIZE: 5, _REDUCE: 7}
_TO_4X4 = (0, 0, 0) * 2 + (0, 3, 0) * 2


def _read_program(text: bytes) -> Iterator[_Operation]:
    stack: list[_Value] = []
    shapes: dict[int, tuple[int, ...]] = {}
    paddings: dict[int, tuple[int, ...]] = {}
    place = 0
    while place < len(text):
        code = text[place]
        place += 1
        if code == 0x02:
            stack += struct.unpack_from("<i", text, place)
            place += 4
        elif code == 0x05:
            stack += struct.unpack_from("<f", text, place)
            place += 4
        elif code == 0x17:
            stack.append(struct.unpack_from("<Hi", text, place))
            place += 6
        elif code == 0x31:
            register, rank = text[place], text[place + 1]
            sizes = [stack.pop() for _ in range(rank)][::-1]
            shapes[register] = tuple(size for size in sizes if isinstance(size, int))
            place += 2
        elif code == 0x32:
            register, rank = text[place], text[place + 1]
            numbers = [stack.pop() for _ in range(3 * rank)][::-1]
            paddings[register] = tuple(n for n in numbers if isinstance(n, int))
            place += 2
        elif code == 0x5E:
            (kind,) = struct.unpack_from("<H", text, place)
            if kind not in _OPERANDS:
                raise KmodelError(f"operation {kind:#x} of nncase's has no counterpart here")
            end = place + 2 + _OPERANDS[kind]
            yield _Operation(kind, text[place + 2 : end], stack, dict(shapes), dict(paddings))
            stack = []
            place = end
        else:
            raise KmodelError(f"instruction {code:#x} of nncase's is not known here")


class _Transcoder:
    """Walks through the CPU's program. Its data keep their addresses; the outputs follow them."""

    def __init__(self, modules: tuple[Module, ...], main: Module) -> None:
        self._modules = modules
        self._program = main
        self._function = main.functions[0]
        self._outputs_at = round_up(main.pools.get(_DATA, 0), 8)
        self._sizes: dict[int, int] = {}  # bytes of results that are outputs, by their offset
        # By address: channels of maps that are 1x1, and of their 4x4 stand-ins in v5.
        self._single: dict[int, int] = {}
        self._unpadded: dict[int, int] = {}

    def kmodel(self) -> Kmodel:
        function = self._function
        text = self._program.text[function.entry : function.entry + function.text_bytes]
        steps = {
            _CALL: self._call,
            _COPY: self._copy,
            _DEQUANTIZE: self._dequantize,
            _PAD: self._pad,
            _QUANTIZE: self._quantize,
            _REDUCE: self._mean,
        }
        layers: list[Layer] = []
        for operation in _read_program(text):
            layers += steps[operation.code](operation)
        # They lie end to end in their order, as nncase's function records say.
        outputs = [Output(self._outputs_at + at, size) for at, size in sorted(self._sizes.items())]
        end = self._outputs_at + round_up(function.output_bytes, 8)
        return Kmodel(tuple(layers), tuple(outputs), end)

    def _address(self, where: _Value, result_bytes: int = 0) -> int:
        """In main memory of v3; a result's size is remembered if it is an output."""
        if not isinstance(where, tuple):
            raise KmodelError("a tensor without an address")
        kind, offset = where
        if kind == _OUTPUT:
            if result_bytes:
                self._sizes[offset] = result_bytes
            return self._outputs_at + offset
        if kind != _DATA:
            raise KmodelError(f"a tensor in memory of kind {kind} outside the KPU's run")
        return offset

    def _note(self, address: int, channels: int | None) -> None:
        """What lies there from now on: a 1x1 map of so many channels, or something else."""
        self._unpadded.pop(address, None)
        self._single.pop(address, None)
        if channels is not None:
            self._single[address] = channels

    def _call(self, operation: _Operation) -> list[Layer]:
        """A KPU run; each of its tensors is four things on the stack, its address first."""
        index, module, sources, _ = struct.unpack("<IHBB", operation.operands)
        source, *results = operation.stack[::4]
        kpu = self._modules[module]
        found = _read_run(kpu, kpu.functions[index])
        padded = None if source == (_INPUT, 0) else self._single.get(self._address(source))
        if sources != 1 or (source != (_INPUT, 0) and padded is None):
            raise KmodelError("a KPU run of something other than the input or a 1x1 map")
        # A run's results lie end to end in their order; the program says where each one goes.
        starts = sorted({start for _, start, _ in found.downloads})
        if len(results) != len(starts):
            raise KmodelError(f"{len(results)} results of a KPU run with {len(starts)} downloads")
        convs = list(found.convs)
        for row, start, size in found.downloads:
            writers = [i for i, conv in enumerate(convs) if conv.dst_row == row]
            if not writers:
                raise KmodelError(f"a download of row {row}, which no convolution writes")
            main_out = self._address(results[starts.index(start)], size)
            convs[writers[-1]] = replace(convs[writers[-1]], main_out=main_out)
        if padded is None:
            return [*convs]
        at, end = self._address(source), self._address(results[0])
        channels = convs[-1].out_channels
        self._note(end, channels)
        return [
            AddPadding(input=at, kpu_row=convs[0].src_row, channels=padded),
            *convs,
            RemovePadding(input=end, output=end, channels=channels),
        ]

    def _dequantize(self, operation: _Operation) -> list[Layer]:
        source, target, scale, bias = operation.stack
        _check_types(operation, _UINT8, _FLOAT32)
        count = prod(operation.shapes[operation.operands[2]])
        start, end = self._address(source), self._address(target, 4 * count)
        channels = self._single.get(start)
        self._note(end, channels)
        count = channels or count
        numbers = {"count": count, "scale": _number(scale), "bias": _number(bias)}
        return [Dequantize(input=start, output=end, **numbers)]

    def _quantize(self, operation: _Operation) -> list[Layer]:
        source, target, steps, zero_point = operation.stack
        _check_types(operation, _FLOAT32, _UINT8)
        start, end = self._address(source), self._address(target)
        if start not in self._single:
            raise KmodelError("a quantisation of more than a 1x1 map")
        count = self._single[start]
        scale = 1 / _number(steps)
        bias = -_number(zero_point) * scale
        start = self._unpadded.get(start, start)
        self._note(end, count)
        return [Quantize(input=start, output=end, count=count, scale=scale, bias=bias)]

    def _pad(self, operation: _Operation) -> list[Layer]:
        """A 1x1 map to 4x4: the layer that brings it to the KPU does it."""
        source, target, _ = operation.stack
        dtype, shape, _, _, paddings, _ = operation.operands
        sizes = operation.shapes[shape]
        pads = operation.paddings[paddings]
        if dtype != _FLOAT32 or sizes[2:] != (1, 1) or pads != _TO_4X4:
            raise KmodelError(f"a padding {pads} of {sizes}")
        end = self._address(target)
        self._note(end, sizes[1])
        self._unpadded[end] = self._address(source)
        return []

    def _copy(self, operation: _Operation) -> list[Layer]:
        """What is left of a 4x4 map when its padding goes, or as another shape."""
        source, target = operation.stack
        dtype, shape, _, _ = operation.operands
        count = prod(operation.shapes[shape])
        start, end = self._address(source), self._address(target, 4 * count)
        if dtype != _FLOAT32 or self._single.get(start) != count:
            raise KmodelError(f"a copy of {operation.shapes[shape]}")
        self._note(end, count)
        return [Concat(output=end, input_count=1, ranges=np.array([(start, 4 * count)], np.uint32))]

    def _mean(self, operation: _Operation) -> list[Layer]:
        source, target, _ = operation.stack
        dtype, shape, _, _, kind, axes, _ = operation.operands
        sizes = operation.shapes[shape]
        if (dtype, kind) != (_FLOAT32, _MEAN) or operation.shapes[axes] != (2, 3):
            raise KmodelError(f"a reduction of kind {kind} over axes {operation.shapes[axes]}")
        start, end = self._address(source), self._address(target, 4 * sizes[1])
        self._note(end, sizes[1])
        size, channels = sizes[2] * sizes[3], sizes[1]
        return [GlobalAveragePool(input=start, output=end, kernel_size=size, channels=channels)]


def _check_types(operation: _Operation, *wanted: int) -> None:
    if tuple(operation.operands[:2]) != wanted:
        raise KmodelError(f"a conversion of types {list(operation.operands[:2])}")


def _number(value: _Value) -> float:
    if isinstance(value, tuple):
        raise KmodelError("an address where a number was expected")
    return value


@dataclass(frozen=True)
class _Run:
    """Convolutions, and what goes to main memory: (row in KPU RAM, start in the outputs, bytes)."""

    convs: tuple[KpuConv, ...]
    downloads: tuple[tuple[int, int, int], ...]


def _read_run(module: Module, function: Function) -> _Run:
    text = module.text[function.entry : function.entry + function.text_bytes]
    constants = module.sections.get(".rdata", b"")
    convs: list[KpuConv] = []
    downloads = []
    place = 0
    while place < len(text):
        code = text[place]
        if code in (_UPLOAD, _DOWNLOAD):
            source, target = (_read_range(text, place + 4 + 12 * i) for i in range(2))
            if code == _UPLOAD and (convs or source[0] != _INPUT):
                raise KmodelError("an upload of something other than the input")
            if code == _DOWNLOAD:
                downloads.append((source[1] // ROW_BYTES, target[1], target[2]))
            place += _COPY_BYTES
        elif code == _CONVOLUTION:
            convs.append(_read_conv(text[place : place + _CONVOLUTION_BYTES], constants))
            place += _CONVOLUTION_BYTES
        else:
            raise KmodelError(f"operation {code} in a KPU run: copies have no counterpart in v3")
    return _Run(tuple(convs), tuple(downloads))


def _read_range(text: bytes, place: int) -> _Range:
    kind, _, _, start, size = _RANGE.unpack_from(text, place)
    return kind, start, size


def _read_conv(text: bytes, constants: bytes) -> KpuConv:
    """Ranges of weights, tables and output, u32 batches, registers."""
    blocks = []
    for index in range(3):
        kind, start, size = _read_range(text, 4 + _RANGE.size * index)
        if kind != _CONSTANTS or start + size > len(constants):
            raise KmodelError(f"constants at {start}..{start + size} of {len(constants)}")
        blocks.append(constants[start : start + size])
    weights, bn, activation = blocks
    if _read_range(text, 4 + _RANGE.size * 3)[2]:
        raise KmodelError("a convolution that writes to main memory by itself")
    registers = text[-8 * WORDS :]
    found = unpack_registers(registers)
    return build_conv(registers, found, weights, bn, activation[:ACTIVATION_BYTES])
