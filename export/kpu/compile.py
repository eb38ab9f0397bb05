"""From an ONNX graph and pictures to a kmodel v3: lower, calibrate, quantise, place.

A value takes up to three forms: maps in KPU RAM, bytes in main memory, floats in main memory. A
step asks for the form that it needs; what is missing is made on the spot, once. Addresses come
last, when it is known how long everything lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
from onnx import ModelProto

from . import elementwise as e
from . import maps as m
from .allocate import Block, allocate, peak
from .calibrate import Method, Statistics, measure
from .check import SMALLEST_MAP
from .conv import KpuConv
from .equalize import equalize
from .format import Kmodel, Output
from .layer import KPU_ROWS, KmodelError, KpuTensor, Layer, round_up
from .lower import Conv, Network, Operator, Shape, lower
from .quantize import Quantization, choose, quantize_convolution
from .registers import pack_registers
from .scalar import Scalar, identity, is_linear, is_rectifier

_ALIGNMENT = 8  # of main memory; the KPU writes 8 bytes at a time
_PADDED = (SMALLEST_MAP, SMALLEST_MAP)
Form = Literal["kpu", "bytes", "float"]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A kmodel, the step that each layer comes from, and the shapes of its outputs."""

    kmodel: Kmodel
    names: tuple[str, ...]
    output_shapes: tuple[Shape, ...]


def compile_kmodel(
    proto: ModelProto, calibration: np.ndarray, method: Method = "minmax", equalized: bool = True
) -> Compiled:
    """Compile a network that takes raw pixels.

    Args:
        proto: static ONNX, batch 1, with the shapes of its tensors.
        calibration: uint8 pictures ``[N, C, H, W]``.
        method: how ranges are chosen.
        equalized: with cross-layer equalisation.

    Raises:
        KmodelError: the network cannot run on a K210; the node is named.
    """
    network = lower(proto)
    named = {value.name for value in (*proto.graph.value_info, *proto.graph.output)}
    wanted = {network.input}
    for step in network.steps:
        wanted |= {step.sums, step.stored} if isinstance(step, Conv) else {step.output, *step.inputs}
    statistics = measure(proto, calibration, wanted & named)
    if equalized:
        network, statistics = equalize(network, statistics)
    return _Emitter(network, statistics, choose(network, statistics, method)).compiled()


@dataclass(eq=False)
class _Tensor:
    """A form of a value, and the span of layers in which it lives."""

    value: str
    form: Form
    shape: Shape
    first: int
    last: int

    @property
    def size(self) -> int:
        """In rows of KPU RAM, or bytes."""
        if self.form == "kpu":
            channels, height, width = self.shape
            return KpuTensor(0, (channels, height, width)).rows
        return round_up(prod(self.shape) * (4 if self.form == "float" else 1), _ALIGNMENT)


@dataclass(eq=False)
class _Planned:
    """A layer that has tensors but no addresses yet."""

    name: str
    build: Callable[[Callable[[_Tensor], int]], Layer]


class _Emitter:
    """Writes layers in order; addresses are filled in at the end."""

    def __init__(
        self,
        network: Network,
        statistics: dict[str, Statistics],
        quantizations: dict[str, Quantization],
    ) -> None:
        self._network, self._statistics, self._quantizations = network, statistics, quantizations
        self._planned: list[_Planned] = []
        self._tensors: list[_Tensor] = []
        self._forms: dict[tuple[str, Form], _Tensor] = {}
        self._downloads: dict[_Tensor, _Tensor] = {}  # by the KPU's: the bytes written beside it

    def compiled(self) -> Compiled:
        network = self._network
        self._make(network.input, "kpu")
        for step in network.steps:
            if isinstance(step, Conv):
                self._convolution(step)
            else:
                _OPERATORS[step.kind](self, step)
        outputs = [self._need(name, "float") for name in network.outputs]
        for tensor in outputs:
            tensor.last = len(self._planned)
        return self._placed(outputs)

    # Forms

    def _make(self, value: str, form: Form, shape: Shape | None = None) -> _Tensor:
        """A new tensor, written by the layer that comes next."""
        now = len(self._planned)
        tensor = _Tensor(value, form, shape or self._network.shapes[value], now, now)
        self._tensors.append(tensor)
        self._forms[value, form] = tensor
        return tensor

    def _need(self, value: str, form: Form) -> _Tensor:
        """The tensor of a value in that form, to be read by the layer that comes next."""
        tensor = self._forms.get((value, form)) or getattr(self, f"_to_{form}")(value)
        tensor.last = len(self._planned)
        return tensor

    def _to_bytes(self, value: str) -> _Tensor:
        if (value, "kpu") in self._forms:
            source = self._forms[value, "kpu"]
            if source.first == 0 and value == self._network.input:
                raise KmodelError(f"{value}: only convolutions can read the picture")
            tensor = self._make(value, "bytes")
            tensor.first = source.first  # the convolution itself sends them
            self._downloads[source] = tensor
            return tensor
        q = self._quantizations[value]
        source, tensor = self._need(value, "float"), self._make(value, "bytes")
        self._add(
            f"{value} (quantize)",
            lambda at: e.Quantize(
                input=at(source),
                output=at(tensor),
                count=prod(source.shape),
                scale=q.scale,
                bias=q.bias,
            ),
        )
        return tensor

    def _to_float(self, value: str) -> _Tensor:
        q = self._quantizations[value]
        source, tensor = self._need(value, "bytes"), self._make(value, "float")
        self._add(
            f"{value} (dequantize)",
            lambda at: e.Dequantize(
                input=at(source),
                output=at(tensor),
                count=prod(source.shape),
                scale=q.scale,
                bias=q.bias,
            ),
        )
        return tensor

    def _to_kpu(self, value: str) -> _Tensor:
        source, tensor = self._need(value, "bytes"), self._make(value, "kpu")
        channels, height, width = tensor.shape
        self._add(
            f"{value} (upload)",
            lambda at: m.Upload(
                input=at(source), kpu_row=at(tensor), width=width, height=height, channels=channels
            ),
        )
        return tensor

    def _add(self, name: str, build: Callable[[Callable[[_Tensor], int]], Layer]) -> None:
        self._planned.append(_Planned(name, build))

    # Steps

    def _convolution(self, conv: Conv) -> None:
        shapes = self._network.shapes
        if prod(shapes[conv.output][1:]) == 1 and prod(shapes[conv.input][1:]) == 1:
            self._features(conv)
            return
        source, target = self._need(conv.input, "kpu"), self._make(conv.output, "kpu")
        self._add(conv.name, self._kpu_layer(conv, source, target))

    def _features(self, conv: Conv) -> None:
        """A convolution of 1x1 maps: the KPU's smallest is 4x4, of which one pixel counts."""
        data, shapes = self._need(conv.input, "bytes"), self._network.shapes
        channels_in, channels_out = shapes[conv.input][0], shapes[conv.output][0]
        source = self._make(conv.input, "kpu", (channels_in, *_PADDED))
        self._add(
            f"{conv.name} (pad)",
            lambda at: m.AddPadding(input=at(data), kpu_row=at(source), channels=channels_in),
        )
        source.last = len(self._planned)
        target = self._make(conv.output, "kpu", (channels_out, *_PADDED))
        maps = self._make(conv.output, "bytes", (channels_out, *_PADDED))
        self._downloads[target] = maps
        self._add(conv.name, self._kpu_layer(conv, source, target))
        maps.last = len(self._planned)
        result = self._make(conv.output, "bytes")
        self._add(
            f"{conv.name} (crop)",
            lambda at: m.RemovePadding(input=at(maps), output=at(result), channels=channels_out),
        )
        # 4x4 maps are not the values themselves: nobody else shall read them.
        del self._forms[conv.input, "kpu"], self._forms[conv.output, "kpu"]

    def _kpu_layer(
        self, conv: Conv, source: _Tensor, target: _Tensor
    ) -> Callable[[Callable[[_Tensor], int]], Layer]:
        sums = self._statistics[conv.sums]
        fields = quantize_convolution(
            conv,
            self._quantizations[conv.input],
            self._quantizations[conv.output],
            (float(sums.low.min()), float(sums.high.max())),
            self._mean(conv),
        )
        _, height, width = source.shape

        def build(at: Callable[[_Tensor], int]) -> KpuConv:
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

    def _mean(self, conv: Conv) -> np.ndarray:
        """Of the convolution's input channels, minus what padding stands for: 0."""
        channels = conv.weights.shape[0 if conv.depthwise else 1]
        if conv.input == self._network.input:
            return self._statistics[conv.input].mean - self._network.input_zero
        found = self._statistics.get(conv.input.removesuffix("@whole"))
        return np.zeros(channels) if found is None else found.mean

    def _table(self, step: Operator) -> None:
        self._requantize(step.inputs[0], step.output, step.function, step.name)

    def _requantize(self, value: str, output: str, function: Scalar, name: str) -> None:
        """A byte for a byte."""
        old, new = self._quantizations[value], self._quantizations[output]
        source, target = self._need(value, "bytes"), self._make(output, "bytes")
        numbers = function(old.scale * (np.arange(256.0) - old.zero))
        table = np.clip(np.rint(numbers / new.scale + new.zero), 0, 255).astype(np.uint8)
        self._add(
            name,
            lambda at: e.Requantize(
                input=at(source), output=at(target), count=prod(target.shape), table=table
            ),
        )

    def _sum(self, step: Operator) -> None:
        a, b = (self._need(name, "float") for name in step.inputs)
        clips = is_linear(step.function) or is_rectifier(step.function)
        before = step.output if clips else f"{step.output}@sum"
        total = self._make(before, "float", a.shape)
        self._add(
            step.name,
            lambda at: e.Add(
                input_a=at(a), input_b=at(b), output=at(total), count=prod(total.shape)
            ),
        )
        if clips:  # bytes have no negative numbers behind ReLU, nor more than the ceiling
            self._need(step.output, "bytes")
            if not is_linear(step.function):
                del self._forms[step.output, "float"]
            return
        raise KmodelError(
            f"{step.name}: a sum followed by an activation other than ReLU; put a convolution "
            f"between them"
        )

    def _global_mean(self, step: Operator) -> None:
        source, target = self._need(step.inputs[0], "float"), self._make(step.output, "float")
        channels = source.shape[0]
        self._add(
            step.name,
            lambda at: m.GlobalAveragePool(
                input=at(source),
                output=at(target),
                kernel_size=prod(source.shape[1:]),
                channels=channels,
            ),
        )

    def _linear(self, step: Operator) -> None:
        source, target = self._need(step.inputs[0], "float"), self._make(step.output, "float")
        weights, bias = (step.arrays[n].astype(np.float32) for n in ("weights", "bias"))
        self._add(
            step.name,
            lambda at: m.FullyConnected(
                input=at(source),
                output=at(target),
                in_channels=weights.shape[1],
                out_channels=weights.shape[0],
                activation=0,
                weights=weights,
                bias=bias,
            ),
        )

    def _reshape(self, step: Operator) -> None:
        """The same numbers in the same order: no layer at all."""
        value = step.inputs[0]
        form: Form = "float" if (value, "float") in self._forms else "bytes"
        source = self._need(value, form)
        self._forms[step.output, form] = source
    
    def _softmax(self, step: Operator) -> None:
        source, target = self._need(step.inputs[0], "float"), self._make(step.output, "float")
        self._add(
            step.name,
            lambda at: e.Softmax(input=at(source), output=at(target), count=prod(source.shape)),
        )

    def _concat(self, step: Operator) -> None:
        parts = []
        for index, value in enumerate(step.inputs):
            if self._quantizations[value] != self._quantizations[step.output]:
                other = f"{step.output}@{index}"
                self._quantizations[other] = self._quantizations[step.output]
                shape = self._network.shapes[value]
                self._network = replace(
                    self._network, shapes={**self._network.shapes, other: shape}
                )
                self._requantize(value, other, identity, f"{step.name} (requantize)")
                value = other
            parts.append(value)
        sources = [self._need(value, "bytes") for value in parts]
        target = self._make(step.output, "bytes")
        self._add(
            step.name,
            lambda at: m.QuantizedConcat(
                output=at(target),
                input_count=len(sources),
                ranges=np.array([(at(s), prod(s.shape)) for s in sources], np.uint32),
            ),
        )

    def _max_pool(self, step: Operator) -> None:
        self._maps(step, m.QuantizedMaxPool, **_pool_sizes(step, self._network))

    def _resize(self, step: Operator) -> None:
        (channels, height, width), (_, out_height, out_width) = (
            self._network.shapes[name] for name in (step.inputs[0], step.output)
        )
        sizes = {"channels": channels, "height": height, "width": width}
        sizes |= {"out_height": out_height, "out_width": out_width}
        self._maps(step, m.QuantizedResizeNearest, **sizes)

    def _maps(self, step: Operator, kind: type[Any], **sizes: int) -> None:
        source, target = self._need(step.inputs[0], "bytes"), self._make(step.output, "bytes")
        self._add(step.name, lambda at: kind(input=at(source), output=at(target), **sizes))

    # Addresses

    def _placed(self, outputs: list[_Tensor]) -> Compiled:
        addresses: dict[_Tensor, int] = {}
        sizes = {}
        for space in ("kpu", "main"):
            tensors = [t for t in self._tensors if (t.form == "kpu") == (space == "kpu")]
            blocks = [Block(t.size, t.first, t.last) for t in tensors]
            offsets = allocate(blocks)
            sizes[space] = peak(blocks, offsets)
            addresses |= dict(zip(tensors, offsets, strict=True))
        if sizes["kpu"] > KPU_ROWS:
            raise KmodelError(self._too_large())
        layers = []
        for planned in self._planned:
            layer = planned.build(addresses.__getitem__)
            try:
                if isinstance(layer, KpuConv):
                    pack_registers(layer)
            except KmodelError as error:
                raise KmodelError(f"{planned.name}: {error}; use fewer channels") from None
            layers.append(layer)
        places = tuple(Output(addresses[t], prod(t.shape) * 4) for t in outputs)
        return Compiled(
            Kmodel(tuple(layers), places, sizes["main"]),
            tuple(planned.name for planned in self._planned),
            tuple(self._network.shapes[name] for name in self._network.outputs),
        )

    def _too_large(self) -> str:
        maps = [t for t in self._tensors if t.form == "kpu"]
        needs = [
            sum(t.size for t in maps if t.first <= index <= t.last)
            for index in range(len(self._planned))
        ]
        index = int(np.argmax(needs))
        return (
            f"{self._planned[index].name}: the maps in use take {needs[index] * 64 / 2**20:.2f} "
            f"MiB, the KPU has 2; use a smaller input or fewer channels"
        )


def _pool_sizes(step: Operator, network: Network) -> dict[str, int]:
    old, new = (network.shapes[name] for name in (step.inputs[0], step.output))
    sides = {"h": "height", "w": "width"}
    sizes = {f"{n}_{side}": step.numbers[f"{n}_{s}"]
             for n in ("kernel", "stride", "pad") for s, side in sides.items()}
    for place, shape in (("in", old), ("out", new)):
        sizes |= dict(zip((f"{place}_channels", f"{place}_height", f"{place}_width"), shape))
    return sizes


_OPERATORS: dict[str, Callable[[_Emitter, Operator], None]] = {
    "add": _Emitter._sum,
    "concat": _Emitter._concat,
    "linear": _Emitter._linear,
    "max_pool": _Emitter._max_pool,
    "mean": _Emitter._global_mean,
    "resize": _Emitter._resize,
    "reshape": _Emitter._reshape,
    "softmax": _Emitter._softmax,
    "table": _Emitter._table,
}
