"""Steps as layers.

A value takes up to three forms: maps in KPU RAM, bytes in main memory, floats in main memory. A
step asks for the form that it needs; what is missing is made on the spot, once. Layers get their
addresses last (``place.py``), when it is known how long everything lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from .. import elementwise as e
from .. import maps as m
from ..conv import KpuConv
from ..layer import KmodelError, Layer
from .calibrate import Statistics
from .check import SMALLEST_MAP
from .place import Address, Form, Place, Planned
from .quantize import Quantization, quantize_convolution
from .scalar import Scalar, identity, is_linear
from .steps import Conv, Network, Operator, Shape


class Emitter:
    """Writes the layers of a network, in order.

    Args:
        network: what is to be done.
        statistics: of the tensors that convolutions read and sum up.
        quantizations: of every value that may be bytes.
    """

    def __init__(
        self,
        network: Network,
        statistics: Mapping[str, Statistics],
        quantizations: Mapping[str, Quantization],
    ) -> None:
        self._network, self._statistics = network, statistics
        self._shapes, self._quantizations = network.shapes, quantizations
        self._planned: list[Planned] = []
        self._places: list[Place] = []
        self._forms: dict[tuple[str, Form], Place] = {}
        self._downloads: dict[Place, Place] = {}  # by maps in KPU RAM: the bytes sent beside them

    def emit(self) -> tuple[list[Planned], list[Place], list[Place]]:
        """Layers, all places that they use, and the outputs among these: floats."""
        self._new(self._network.input, "kpu")
        for step in self._network.steps:
            if isinstance(step, Conv):
                self._convolution(step)
            else:
                _OPERATORS[step.kind](self, step)
        outputs = [self._need(name, "float") for name in self._network.outputs]
        for output in outputs:
            output.last = len(self._planned)
        return self._planned, self._places, outputs

    # Forms of a value

    def _new(self, value: str, form: Form) -> Place:
        """A place that the next layer fills with a value."""
        self._forms[value, form] = self._scratch(form, self._shapes[value])
        return self._forms[value, form]

    def _scratch(self, form: Form, shape: Shape) -> Place:
        """A place that the next layer fills with something that is no value of the network."""
        now = len(self._planned)
        self._places.append(Place(form, shape, now, now))
        return self._places[-1]

    def _need(self, value: str, form: Form) -> Place:
        """Where a value lies in that form; the next layer may read it."""
        makers = {"kpu": self._upload, "bytes": self._to_bytes, "float": self._dequantize}
        found = self._forms.get((value, form)) or makers[form](value)
        found.last = len(self._planned)
        return found

    def _to_bytes(self, value: str) -> Place:
        maps = self._forms.get((value, "kpu"))
        if maps is None:
            return self._quantize(value)
        if value == self._network.input:
            raise KmodelError(
                f"{value}: the image goes to the KPU alone; put a convolution in front"
            )
        data = self._new(value, "bytes")
        data.first = maps.first  # sent by the convolution that makes the maps
        self._downloads[maps] = data
        return data

    def _quantize(self, value: str) -> Place:
        q, source = self._quantizations[value], self._need(value, "float")
        target = self._new(value, "bytes")
        numbers = {"count": source.count, "scale": q.scale, "bias": q.bias}
        self._add(
            f"{value} (quantize)",
            lambda at: e.Quantize(input=at(source), output=at(target), **numbers),
        )
        return target

    def _dequantize(self, value: str) -> Place:
        q, source = self._quantizations[value], self._need(value, "bytes")
        target = self._new(value, "float")
        numbers = {"count": source.count, "scale": q.scale, "bias": q.bias}
        self._add(
            f"{value} (dequantize)",
            lambda at: e.Dequantize(input=at(source), output=at(target), **numbers),
        )
        return target

    def _upload(self, value: str) -> Place:
        source, target = self._need(value, "bytes"), self._new(value, "kpu")
        channels, height, width = target.shape
        sizes = {"channels": channels, "height": height, "width": width}
        self._add(
            f"{value} (upload)",
            lambda at: m.Upload(input=at(source), kpu_row=at(target), **sizes),
        )
        return target

    def _add(self, name: str, build: Callable[[Address], Layer]) -> None:
        self._planned.append(Planned(name, build))

    # Convolutions

    def _convolution(self, conv: Conv) -> None:
        if prod(self._shapes[conv.output][1:]) == prod(self._shapes[conv.input][1:]) == 1:
            self._features(conv)
        else:
            source, target = self._need(conv.input, "kpu"), self._new(conv.output, "kpu")
            self._add(conv.name, self._kpu_layer(conv, source, target))

    def _features(self, conv: Conv) -> None:
        """A convolution of 1x1 maps: the KPU's smallest is 4x4, of which one pixel counts."""
        channels_out, channels_in = conv.weights.shape[:2]
        padded = SMALLEST_MAP, SMALLEST_MAP
        data = self._need(conv.input, "bytes")
        source = self._scratch("kpu", (channels_in, *padded))
        self._add(
            f"{conv.name} (add padding)",
            lambda at: m.AddPadding(input=at(data), kpu_row=at(source), channels=channels_in),
        )
        source.last = len(self._planned)
        target = self._scratch("kpu", (channels_out, *padded))
        maps = self._scratch("bytes", target.shape)
        self._downloads[target] = maps
        self._add(conv.name, self._kpu_layer(conv, source, target))
        maps.last = len(self._planned)
        result = self._new(conv.output, "bytes")
        self._add(
            f"{conv.name} (remove padding)",
            lambda at: m.RemovePadding(input=at(maps), output=at(result), channels=channels_out),
        )

    def _kpu_layer(self, conv: Conv, source: Place, target: Place) -> Callable[[Address], KpuConv]:
        sums = self._statistics[conv.sums]
        fields = quantize_convolution(
            conv,
            self._quantizations[conv.input],
            self._quantizations[conv.output],
            (float(sums.low.min()), float(sums.high.max())),
            self._input_mean(conv),
        )
        _, height, width = source.shape

        def build(at: Address) -> KpuConv:
            data = self._downloads.get(target)
            return KpuConv(
                src_row=at(source),
                dst_row=at(target),
                height=height,
                width=width,
                main_out=None if data is None else at(data),
                **fields,
            )

        return build

    def _input_mean(self, conv: Conv) -> np.ndarray:
        """Of each channel, as a distance from what padding stands for; 0 where it is not known."""
        found = self._statistics.get(conv.input.removesuffix("@whole"))
        if found is None:
            return np.zeros(conv.weights.shape[0 if conv.depthwise else 1])
        image = conv.input == self._network.input
        return found.mean - (self._network.input_zero if image else 0)

    # Operators of the CPU

    def _table(self, step: Operator) -> None:
        target = self._requantize(step, step.inputs[0], step.function)
        self._forms[step.output, "bytes"] = target

    def _requantize(self, step: Operator, value: str, function: Scalar) -> Place:
        """A byte for each byte of ``value``, in the quantisation of the step's output."""
        old, new = self._quantizations[value], self._quantizations[step.output]
        source = self._need(value, "bytes")
        target = self._scratch("bytes", self._shapes[value])
        numbers = function(old.scale * (np.arange(256.0) - old.zero))
        table = np.clip(np.rint(numbers / new.scale + new.zero), 0, 255).astype(np.uint8)
        self._add(
            f"{step.name} (requantize)",
            lambda at: e.Requantize(
                input=at(source), output=at(target), count=source.count, table=table
            ),
        )
        return target

    def _sum(self, step: Operator) -> None:
        """In floats; a ReLU behind it is what bytes that end at 0 do anyway."""
        a, b = (self._need(name, "float") for name in step.inputs)
        total = self._new(step.output, "float")
        self._add(
            step.name,
            lambda at: e.Add(input_a=at(a), input_b=at(b), output=at(total), count=total.count),
        )
        if not is_linear(step.function):
            self._need(step.output, "bytes")
            del self._forms[step.output, "float"]

    def _global_mean(self, step: Operator) -> None:
        source, target = self._floats(step)
        sizes = {"kernel_size": prod(source.shape[1:]), "channels": source.shape[0]}
        self._add(
            step.name,
            lambda at: m.GlobalAveragePool(input=at(source), output=at(target), **sizes),
        )

    def _linear(self, step: Operator) -> None:
        source, target = self._floats(step)
        weights, bias = (step.arrays[name].astype(np.float32) for name in ("weights", "bias"))
        sizes = {"in_channels": weights.shape[1], "out_channels": weights.shape[0]}
        self._add(
            step.name,
            lambda at: m.FullyConnected(
                input=at(source),
                output=at(target),
                **sizes,
                activation=0,
                weights=weights,
                bias=bias,
            ),
        )

    def _softmax(self, step: Operator) -> None:
        source, target = self._floats(step)
        self._add(
            step.name, lambda at: e.Softmax(input=at(source), output=at(target), count=source.count)
        )

    def _floats(self, step: Operator) -> tuple[Place, Place]:
        return self._need(step.inputs[0], "float"), self._new(step.output, "float")

    def _reshape(self, step: Operator) -> None:
        """The same numbers in the same order: no layer at all."""
        value = step.inputs[0]
        form: Form = "float" if (value, "float") in self._forms else "bytes"
        self._forms[step.output, form] = self._need(value, form)

    def _concat(self, step: Operator) -> None:
        wanted = self._quantizations[step.output]
        sources = [
            self._need(value, "bytes")
            if self._quantizations[value] == wanted
            else self._requantize(step, value, identity)
            for value in step.inputs
        ]
        for source in sources:
            source.last = len(self._planned)
        target = self._new(step.output, "bytes")
        self._add(
            step.name,
            lambda at: m.QuantizedConcat(
                output=at(target),
                input_count=len(sources),
                ranges=np.array([(at(place), place.count) for place in sources], np.uint32),
            ),
        )

    def _max_pool(self, step: Operator) -> None:
        sizes = _sides("in", self._shapes[step.inputs[0]])
        sizes |= _sides("out", self._shapes[step.output]) | dict(step.numbers)
        self._bytes(step, m.QuantizedMaxPool, sizes)

    def _resize(self, step: Operator) -> None:
        channels, height, width = self._shapes[step.inputs[0]]
        _, out_height, out_width = self._shapes[step.output]
        sizes = {"channels": channels, "height": height, "width": width}
        sizes |= {"out_height": out_height, "out_width": out_width}
        self._bytes(step, m.QuantizedResizeNearest, sizes)

    def _bytes(self, step: Operator, kind: type[Any], sizes: Mapping[str, int]) -> None:
        source, target = self._need(step.inputs[0], "bytes"), self._new(step.output, "bytes")
        self._add(step.name, lambda at: kind(input=at(source), output=at(target), **sizes))


def _sides(place: str, shape: Shape) -> dict[str, int]:
    names = (f"{place}_channels", f"{place}_height", f"{place}_width")
    return dict(zip(names, shape, strict=True))


_OPERATORS: Mapping[str, Callable[[Emitter, Operator], None]] = {
    "add": Emitter._sum,
    "concat": Emitter._concat,
    "linear": Emitter._linear,
    "max_pool": Emitter._max_pool,
    "mean": Emitter._global_mean,
    "resize": Emitter._resize,
    "reshape": Emitter._reshape,
    "softmax": Emitter._softmax,
    "table": Emitter._table,
}
