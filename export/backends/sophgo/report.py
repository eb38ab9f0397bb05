"""What the compiled network, as the compiler writes it in text, says of places and memory.

A function of the text is a part of the network that one processor runs. Groups of layers that stay
in the TPU's own memory are written inside it, with the loads and stores around them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from ...targets.base import Placement

_FUNCTION = re.compile(r"func\.func @\w+\(.*run_mode (?P<mode>\w+)>")
_OPERATOR = re.compile(r'"tpu\.(?P<op>\w+)"\(.* loc\((?P<place>#loc\d*)\)\s*$')
_TYPES = re.compile(r": \((?P<inputs>.*)\) -> (?P<outputs>.*) loc\(#loc\d*\)\s*$")
_NAME = re.compile(r'^(?P<place>#loc\d*) = loc\((?:fused\[)?"(?P<name>[^"]*)"', re.MULTILINE)
_FUSED = re.compile(r"^(?P<place>#loc\d*) = loc\(fused\[(?P<first>#loc\d+)", re.MULTILINE)
_SHAPE = re.compile(r"tensor<((?:\d+x)*)(?=[^\dx])")
_BOOKKEEPING = ("Cast", "Load", "Store", "Yield", "Group", "Slice", "Reshape")
_CPU = "CPU"


class MlirTextError(ValueError):
    """The text is not as this parser knows it."""


def parse_placement(text: str, module_of: Callable[[str], str]) -> Placement:
    """Which operator runs where, with multiplications as compiled.

    What runs on the TPU after its shapes are known at run time is the TPU's as well. ``memory`` is
    of the device: weights, and maps that do not stay in the TPU's own memory.

    Args:
        text: the compiled network.
        module_of: the module of an operator's name.

    Raises:
        MlirTextError: it holds no operator.
    """
    names = {match["place"]: match["name"] for match in _NAME.finditer(text)}
    for match in _FUSED.finditer(text):
        names[match["place"]] = names.get(match["first"], "")
    layers: list[dict[str, Any]] = []
    target = ""
    for line in text.splitlines():
        if function := _FUNCTION.search(line):
            target = _CPU if function["mode"] == _CPU else "TPU"
        elif (operator := _OPERATOR.search(line)) and target:
            op, name = operator["op"], names.get(operator["place"], "")
            op = _cpu_function(line) if op == "GenericCpu" else op
            if op not in _BOOKKEEPING or target == _CPU:
                place = {"name": name, "op": op, "target": target, "module": module_of(name)}
                layers.append({**place, "macs": _count_macs(op, line), "cycles": 0})
    if not layers:
        raise MlirTextError("the compiled network has no operators")
    total = sum(row["macs"] for row in layers)
    on_tpu = sum(row["macs"] for row in layers if row["target"] != _CPU)
    elsewhere = tuple(f"{row['op']} ({row['name']})" for row in layers if row["target"] == _CPU)
    weights, maps = _sum_of("coeff_size", text), _sum_of("neuron_size", text)
    maps += _sum_of("private_size", text)
    return Placement(
        npu_mac_fraction=on_tpu / total if total else float(not elsewhere),
        cpu_ops=elsewhere,
        weights_bytes=weights,
        activation_bytes=maps,
        layers=tuple(layers),
        memory={"device memory": {"used": weights + maps}},
    )


def _sum_of(name: str, text: str) -> int:
    return sum(int(size) for size in re.findall(rf"module\.{name} = (\d+)", text))


def _cpu_function(line: str) -> str:
    found = re.search(r'cpu_op_name = "(\w+)"', line)
    return found[1] if found else "GenericCpu"


def _count_macs(op: str, line: str) -> int:
    """A convolution's kernel meets each pixel of its output, or of its input if it is transposed.

    Weights are stored in the chip's order, so that their shape says little; the kernel's is kept.
    """
    types = _TYPES.search(line)
    if types is None:
        return 0
    inputs, outputs = _shapes(types["inputs"]), _shapes(types["outputs"])
    if op == "MatMul" and inputs and outputs:
        return math.prod(outputs[0]) * inputs[0][-1]
    kernel = re.search(r"kernel_shape = \[([\d, ]+)\]", line)
    if op not in ("Conv2D", "Conv3D", "Deconv") or kernel is None or not inputs or not outputs:
        return 0
    found = re.search(r"group = (\d+)", line)
    group = int(found[1]) if found else 1
    taps = math.prod(int(size) for size in kernel[1].split(","))
    of, other = (inputs[0], outputs[0]) if op == "Deconv" else (outputs[0], inputs[0])
    return math.prod(of) * taps * other[1] // group


def _shapes(text: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, part.split("x")[:-1])) for part in _SHAPE.findall(text)]
