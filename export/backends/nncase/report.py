"""What nncase put where: its listings of operators, and the memory that a kmodel v5 asks for.

nncase prints no KPU memory and no share of MACs. The listings name each operator by its ONNX node,
or by its result's name in a TFLite file;
the kmodel holds the registers of every KPU layer, which say where in the KPU's memory it reads and
writes. The layout of the file follows nncase's published headers.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...kpu import KmodelError
from ...kpu.kmodel_v5 import read_modules
from ...targets.base import Placement

_LINE = re.compile(r"\[(?P<op>\w+)\] ?(?P<name>.*)")
_KPU_CALL, _KPU_LAYER, _KPU_COPIES = "Call", "KPUConv2D", ("KPUUpload", "KPUDownload")
_MULTIPLYING = (_KPU_LAYER, "Conv2D", "Conv2DTranspose", "MatMul")

_READ_ONLY_DATA, _DATA = 2, 3  # kinds of memory
_UPLOAD, _DOWNLOAD, _CONVOLUTION, _COPY = range(4)
_OPERATION_BYTES = {_UPLOAD: 44, _DOWNLOAD: 44, _CONVOLUTION: 152, _COPY: 76}
_REGISTERS_OFFSET = 56
_ROW_BYTES = 64  # the KPU's memory is addressed by rows


class NncaseReportError(ValueError):
    """The compiler's listings or its file are not as this parser knows them."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a kmodel needs.

    ``constants`` are in the file, weights mostly. ``main`` holds what CPU operators and KPU runs
    hand to each other, input and output included; ``kpu`` is the peak in the KPU's 2 MiB.
    """

    constants: int
    main: int
    kpu: int


def parse_placement(
    operators: Mapping[str, str],
    kmodel: bytes,
    macs: Mapping[str, int],
    rename: Callable[[str], str] = str,
) -> tuple[Placement, Memory]:
    """The placement of a compiled network.

    MACs are the network's own. The KPU computes more: four times as much for stride 2, whose
    results it drops, and sixteen times for a 1x1 map, which it pads to 4x4. MACs of a node that no
    operator is named after are not the KPU's, so its share is never too large.

    Args:
        operators: nncase's listings by function; ``main`` runs on the CPU and calls the others.
        kmodel: the file's content.
        macs: the network's multiplications, by the name of what multiplies.
        rename: what to call an operator of the listings.

    Raises:
        NncaseReportError: see there.
    """
    if "main" not in operators:
        raise NncaseReportError("nncase listed no operators")
    left, memory = dict(macs), read_memory(kmodel)
    total = sum(macs.values())
    layers: list[dict[str, Any]] = []
    for op, name in _in_order(operators):
        layers.append(
            {
                "name": rename(name),
                "op": op,
                "target": "KPU" if op == _KPU_LAYER else "CPU",
                "macs": left.pop(_node_of(name), 0) if op in _MULTIPLYING else 0,
                "cycles": None,
            }
        )
    on_cpu = tuple(f"{row['op']} ({row['name']})" for row in layers if row["target"] == "CPU")
    on_kpu = sum(row["macs"] for row in layers if row["target"] == "KPU")
    placement = Placement(
        npu_mac_fraction=on_kpu / total if total else float(not on_cpu),
        cpu_ops=on_cpu,
        weights_bytes=memory.constants,
        activation_bytes=memory.main + memory.kpu,
        layers=tuple(layers),
    )
    return placement, memory


def read_memory(kmodel: bytes) -> Memory:
    """What a kmodel v5 asks for; ``constants`` and ``main`` are nncase's own figures.

    Raises:
        NncaseReportError: another format, or a file that ends early.
    """
    constants = main = kpu = 0
    try:
        for module in read_modules(kmodel):
            constants += module.pools.get(_READ_ONLY_DATA, 0)
            main += module.pools.get(_DATA, 0)
            if module.kind == "k210":
                kpu = max(kpu, _kpu_peak(module.text))
            else:
                main += sum(f.input_bytes + f.output_bytes for f in module.functions)
    except (KmodelError, struct.error) as error:
        raise NncaseReportError(str(error)) from error
    return Memory(constants, main, kpu)


def _in_order(operators: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Operators and their names as they run; calls of KPU runs are replaced by what these do."""
    for op, name in _parse_listing(operators["main"]):
        if op != _KPU_CALL:
            yield op, name
        elif name not in operators:
            raise NncaseReportError(f"nncase listed no operators of {name}")
        else:
            listed = _parse_listing(operators[name])
            yield from (row for row in listed if row[0] not in _KPU_COPIES)


def _parse_listing(text: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            raise NncaseReportError(f"unknown line in nncase's list of operators: {line!r}")
        yield match["op"], match["name"]


def _node_of(name: str) -> str:
    """``/head/Conv(Conv)`` is of node ``/head/Conv``, ``/l/Gemm.matmul(Gemm)`` of ``/l/Gemm``.

    ``Net/Conv2d_head;1/conv`` is of TFLite's tensor ``Net/Conv2d_head;1``.
    """
    return re.sub(r"(\.matmul|/conv|/fc)?(\(.*)?$", "", name)


def _kpu_peak(text: bytes) -> int:
    """The end of the highest row that any layer reads or writes, in bytes."""
    peak = place = 0
    while place < len(text):
        size = _OPERATION_BYTES.get(text[place])
        if size is None:
            raise NncaseReportError(f"unknown KPU operation {text[place]}")
        if text[place] == _CONVOLUTION:
            registers = struct.unpack_from("<12Q", text, place + _REGISTERS_OFFSET)
            peak = max(peak, *(_ROW_BYTES * row for row in _last_rows(registers)))
        place += size
    return peak


def _last_rows(registers: tuple[int, ...]) -> tuple[int, int]:
    """Where a layer's input and output end.

    The fields: 1, addresses of both; 2, channels less one; 7 and 8, for input and output, the rows
    of one channel and how many channels lie side by side in a row.
    """
    source, target = registers[1] & 0x7FFF, registers[1] >> 32 & 0x7FFF
    channels_in, channels_out = registers[2] & 0x3FF, registers[2] >> 32 & 0x3FF
    rows_in, groups_in = registers[7] & 0x7FFF, registers[7] >> 28 & 7
    rows_out, groups_out = registers[8] & 0x7FFF, registers[8] >> 20 & 7
    return (
        source + rows_in * math.ceil((channels_in + 1) / groups_in),
        target + rows_out * math.ceil((channels_out + 1) / groups_out),
    )
