"""The layer table in rknn-toolkit2's build log: the only place where it says what runs where.

No function of the toolkit returns placement or memory without a board, but its compiler prints
both. ``InputOperator`` and ``OutputOperator`` are bookkeeping and are left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...targets.base import Placement

_TABLE = "Network Layer Information Table"
_CONSTANTS = "Const Tensor Information Table"
_LINE = re.compile(r"^D RKNN: \[[\d:.]+\] +(.*?)\s*$", re.MULTILINE)
_ROW = re.compile(
    r"(?P<id>\d+)\s+(?P<op>\S+)\s+(?P<dtype>\S+)\s+(?P<target>[A-Z]+)\s+(?P<inputs>\S+)\s+(?P<output>\S+)"
    r"\s+(?P<ddr>\d+)/(?P<npu>\d+)/(?P<cycles>\d+)(?:\s+\d+%)?\s+(?P<kib>\d+)"
    r"(?:\s+[^:\s]+:(?P<name>\S.*))?"  # the toolkit's own normalisation has no name
)
_SHAPE = re.compile(r"\(([\d,]+)\)")
_CONSTANT = re.compile(r"(\d+)\s+\S+\s.*\|.*\s0x([0-9a-f]+)")
_BOOKKEEPING = ("InputOperator", "OutputOperator")
_OWN = "the toolkit's own"
_FALLBACK = re.compile(
    r"^[A-Z] RKNN: (?:\[[\d:.]+\] *)?(?P<words>.*(?:fallback to CPU|Unknown op target|Unkown op "
    r"target).*?)\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_OVERFLOW = re.compile(r"^E RKNN: .*REGTASK: .*exceeds the limit", re.MULTILINE)

Shape = tuple[int, ...]


class RknnLogError(ValueError):
    """The log holds no layer table, or an empty one."""


def parse_placement(log: str) -> Placement:
    """What the last build of a log placed where.

    Cycles are the compiler's estimates: of the memory (``ddr_cycles``), of the arithmetic
    (``npu_cycles``), and of the two together (``cycles``); 0 where it makes none. ``traffic_kib``
    is what a row reads and writes. MACs are those of the operators as compiled: the compiler may
    split a convolution, repeat one to spare memory, or make a dense one of a grouped one.

    Raises:
        RknnLogError: the log has no layer table, or one without a single row that is known.
    """
    after = log.rpartition(_TABLE)[2]
    weights = _weights_by_row(after)
    rows = [_parse_row(text, weights) for text in _rows(log)]
    layers = tuple(row for row in rows if row is not None and row["op"] not in _BOOKKEEPING)
    if not layers:
        raise RknnLogError("the layer table of the build log is empty")
    total = sum(row["macs"] for row in layers)
    on_npu = sum(row["macs"] for row in layers if row["target"] == "NPU")
    elsewhere = tuple(f"{row['op']} ({row['name']})" for row in layers if row["target"] != "NPU")
    return Placement(
        npu_mac_fraction=on_npu / total if total else float(not elsewhere),
        cpu_ops=elsewhere,
        weights_bytes=_total_bytes("Weight", after),
        activation_bytes=_total_bytes("Internal", after),
        layers=layers,
    )


def find_unknown_rows(log: str) -> list[str]:
    """Rows of the last layer table that :func:`parse_placement` leaves out."""
    return [" ".join(text.split()) for text in _rows(log) if _parse_row(text, {}) is None]


def find_fallbacks(log: str) -> list[str]:
    """What the compiler itself says of operators that leave the NPU, each once.

    Its layer table may say NPU all the same.
    """
    return list(dict.fromkeys(match["words"] for match in _FALLBACK.finditer(log)))


def count_register_overflows(log: str) -> int:
    """How often the compiler found that a value does not fit its hardware register.

    It says so as an error and yet succeeds, and the simulator, which knows no registers, answers
    rightly. At times an operator then falls back to the CPU, at others the row stays on the NPU.
    """
    return len(_OVERFLOW.findall(log))


def _weights_by_row(text: str) -> Counter[str]:
    """Bytes of the constants that each row of the layer table owns, by the row's number."""
    sizes: Counter[str] = Counter()
    for line in _LINE.findall(text.partition(_CONSTANTS)[2]):
        if match := _CONSTANT.fullmatch(line):
            sizes[match[1]] += int(match[2], 16)
    return sizes


def _rows(log: str) -> list[str]:
    """The rows of the last layer table.

    Raises:
        RknnLogError: there is no table, or it has no end.
    """
    _, found, after = log.rpartition(_TABLE)
    if not found:
        raise RknnLogError("the build log has no layer table")
    rows = []
    for text in _LINE.findall(after):
        if text.startswith("<<<<"):
            return rows
        if text[:1].isdigit():
            rows.append(text)
    raise RknnLogError("the build log ends inside the layer table")


def _parse_row(text: str, weights: Mapping[str, int]) -> dict[str, Any] | None:
    """None of a row that this parser does not know."""
    match = _ROW.fullmatch(text)
    if match is None:
        return None
    op, inputs, output = match["op"], _shapes(match["inputs"]), _shapes(match["output"])
    try:
        macs = _count_macs(op, inputs, output)
    except IndexError:  # shapes are missing
        return None
    return {
        "name": match["name"] or _OWN,
        "op": op,
        "dtype": match["dtype"],
        "target": match["target"],
        "macs": macs,
        "cycles": int(match["cycles"]),
        "ddr_cycles": int(match["ddr"]),
        "npu_cycles": int(match["npu"]),
        "weights_bytes": weights.get(match["id"], 0),
        "traffic_kib": int(match["kib"]),
    }


def _shapes(text: str) -> list[Shape]:
    return [tuple(map(int, part.split(","))) for part in _SHAPE.findall(text)]


def _count_macs(op: str, inputs: Sequence[Shape], output: Sequence[Shape]) -> int:
    """Multiplications of one row; feature maps are ``[N, C, H, W]``, those of matrices as well.

    Each weight of a convolution meets each pixel of its output once (of a transposed one: of its
    input), whether it is dense ``[O, I, kh, kw]`` or depthwise ``[1, C, kh, kw]``.
    """
    if op.startswith("ConvTranspose"):
        return math.prod(inputs[1]) * _pixels(inputs[0])
    if op.startswith("Conv"):
        return math.prod(inputs[1]) * _pixels(output[0])
    if op == "exMatMul":  # [batch, k, 1, rows] by [batch, k, 1, columns]
        return math.prod(output[0]) * inputs[0][1]
    if op == "exSDPAttention":  # queries by keys, then by values: [heads, size, 1, tokens] each
        return 2 * math.prod(inputs[0]) * inputs[1][3]
    return 0


def _pixels(shape: Shape) -> int:
    return shape[0] * math.prod(shape[2:])


def _total_bytes(kind: str, text: str) -> int:
    found = re.search(rf"Total {kind} Memory Size: ([\d.]+)KB", text)
    if found is None:
        raise RknnLogError(f"the build log ends before the total {kind.lower()} memory")
    return round(float(found[1]) * 1024)
