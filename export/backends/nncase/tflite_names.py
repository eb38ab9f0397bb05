"""The operators of a LiteRT file: what they multiply, and which module of the network they are of.

litert-torch calls a tensor after the modules that computed it, each as its class and its attribute:
``my.Net/torch.nn.modules.conv.Conv2d_stem;1``. Of operators that it fuses it joins the names by two
semicolons, the multiplying one's last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn


def count_tflite_macs(operators: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Multiplications by the name of an operator; those that multiply no weights are left out.

    Args:
        operators: each with its ``name`` and ``op``, and the shapes of its ``inputs`` and
            ``output``, which are NHWC.
    """
    macs = {}
    for operator in operators:
        op, inputs, output = operator["op"], operator["inputs"], operator["output"]
        if op in (
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
        ):  # each weight meets each pixel of the output once
            macs[operator["name"]] = math.prod(inputs[1]) * math.prod(output[1:3])
        elif op == "TRANSPOSE_CONV":  # ... of the input, which comes behind the output's shape
            macs[operator["name"]] = math.prod(inputs[1]) * math.prod(inputs[2][1:3])
        elif op in ("FULLY_CONNECTED", "BATCH_MATMUL"):
            rows = math.prod(output[:-1])
            macs[operator["name"]] = math.prod(output) * math.prod(inputs[0]) // rows
    return macs


class TfliteNames:
    """Turns the names of a file's operators into names of modules, as ``stem;1``.

    Where two modules are called alike, as those of two lists are, the earlier one is named.

    Args:
        network: from which the file was made.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules: dict[str, str] = {}
        for label, name in _labels(network, _class_of(network), ""):
            self._modules.setdefault(label, name or type(network).__name__)

    def find(self, name: str) -> str:
        """The name of a tensor, or what begins with one; an unknown module keeps its name."""
        label, mark, rest = name.rpartition(";;")[2].partition(";")
        module = self._modules.get(label, label)
        return module + (mark if rest[:1].isdigit() else "") + rest


def _labels(module: nn.Module, label: str, name: str) -> Iterator[tuple[str, str]]:
    """What litert-torch calls each module, and its dotted name; of a list it knows nothing."""
    if not _is_list(module):
        yield label, name
    for attribute, child in module.named_children():
        own = f"{_class_of(child)}_{attribute}"
        path = f"{name}.{attribute}".lstrip(".")
        yield from _labels(child, label if _is_list(child) else f"{label}/{own}", path)


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, (nn.ModuleList, nn.ModuleDict))


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
