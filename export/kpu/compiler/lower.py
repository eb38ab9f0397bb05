"""From an ONNX graph to the steps of a K210: what fuses into one convolution, what is left over.

A step is a :class:`Conv`, all of which is one layer of the KPU, or an :class:`Operator` of the CPU.
Fused into a convolution: the activation behind it, whatever nodes spell it out; a 2x2 or 4x4 pool
behind that; a stride of 2, which is a pool that picks the left top pixel of each 2x2.

The KPU cannot pool or stride a depthwise convolution. One of stride 2 is computed at full
resolution, and the pick moves into the 1x1 convolution behind it (nncase's idea). Where something
else is behind it, and where a tensor is wanted both pooled and whole, a dense 1x1 convolution that
changes nothing does the pool: it is exact, and no trip to the CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeGuard

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..arithmetic import Pool
from .check import check_convolution, check_map, unsupported
from .scalar import ELEMENTWISE, Scalar, compose, identity, is_linear, is_rectifier
from .steps import Conv, Kind, Network, Operator, Shape, Step

_PICK = Pool.LEFT_TOP_2
_POOLS = {
    ("MaxPool", 2): Pool.MAX_2,
    ("MaxPool", 4): Pool.MAX_4,
    ("AveragePool", 2): Pool.MEAN_2,
    ("AveragePool", 4): Pool.MEAN_4,
}
_MEANS = (Pool.MEAN_2, Pool.MEAN_4)
_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_MOVES = ("Expand", "Gather", "Pad", "Slice", "Tile", "Transpose")
_KPU_FEATURES = 1024


def lower(proto: ModelProto) -> Network:
    """The steps of a static network with one image as input, batch 1.

    Raises:
        KmodelError: something neither the KPU nor the firmware can do; the node is named, and what
            to use instead.
    """
    return _absorb_normalization(_Lowering(proto).network())


@dataclass(frozen=True, eq=False)
class _Lazy:
    """A tensor that is a function of ``root``: a value, or a step that can apply the function."""

    root: Step | str
    function: Scalar = identity


class _Lowering:
    """One walk over the nodes; a step is written when something reads its result."""

    def __init__(self, proto: ModelProto) -> None:
        graph = self._graph = proto.graph
        self._opsets = {entry.domain: entry.version for entry in proto.opset_import}
        self._constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._shapes: dict[str, Shape] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            self._shapes[value.name] = tuple(dims[1:])
        outputs = [value.name for value in graph.output]
        self._uses = Counter([*(n for node in graph.node for n in node.input), *outputs])
        self._input = next(v.name for v in graph.input if v.name not in self._constants)
        self._lazy = {self._input: _Lazy(self._input)}
        self._values: dict[str, str] = {}  # tensor: the value that holds it
        self._whole: set[str] = set()  # values of which one pixel in 2x2 is wanted
        self._steps: list[Step] = []

    def network(self) -> Network:
        for node in self._graph.node:
            self._node(node)
        outputs = tuple(self._read(value.name) for value in self._graph.output)
        return Network(tuple(self._steps), self._input, outputs, self._shapes)

    def _node(self, node: NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kind = node.op_type
        if all(name in self._constants for name in node.input if name):
            given = {name: self._constants[name] for name in node.input if name}
            values: Any = ReferenceEvaluator(node, opsets=self._opsets).run(None, given)
            self._constants.update(zip(node.output, values, strict=True))
        elif kind in ELEMENTWISE:
            self._elementwise(node, attributes)
        elif kind == "Conv":
            self._convolution(node, attributes)
        elif kind in ("MaxPool", "AveragePool"):
            self._pool(node, attributes)
        elif kind == "GlobalAveragePool" or _is_mean_of_maps(node, attributes):
            self._operator(node, "mean")
        elif kind in ("Gemm", "MatMul"):
            self._gemm(node, attributes)
        elif kind in _RESHAPES or self._is_nothing(node, attributes):
            self._operator(node, "reshape")
        elif kind == "Softmax":
            self._softmax(node)
        elif kind == "Concat" and attributes["axis"] in (1, -3):
            self._operator(node, "concat", tuple(node.input))
        elif kind == "Resize":
            self._resize(node, attributes)
        else:
            raise unsupported(node)

    def _is_nothing(self, node: NodeProto, attributes: Mapping[str, Any]) -> bool:
        """Whether a node leaves every number where it is: all of them are float32."""
        if node.input[0] not in self._lazy:
            return False
        if node.op_type == "Cast":
            return attributes["to"] == TensorProto.FLOAT
        before, after = (self._shapes.get(n, ()) for n in (node.input[0], node.output[0]))
        constants = [name for name in node.input[1:] if name]
        if (
            node.op_type not in _MOVES
            or prod(before) != prod(after)
            or not all(name in self._constants for name in constants)
        ):
            return False
        places = np.arange(prod(before), dtype=np.float32)
        given = {name: self._constants[name] for name in constants}
        given[node.input[0]] = places.reshape(1, *before)
        (moved,) = ReferenceEvaluator(node, opsets=self._opsets).run(None, given)
        return np.array_equal(np.ravel(moved), places)

    def _step(self, step: Step, shape: Shape) -> str:
        self._steps.append(step)
        self._shapes[step.output] = shape
        return step.output

    def _store(self, tensor: str) -> str:
        """The value that holds a tensor, or holds it before its pick; written now if need be."""
        if tensor not in self._values:
            self._values[tensor] = self._stored(tensor, self._lazy[tensor])
        return self._values[tensor]

    def _stored(self, tensor: str, lazy: _Lazy) -> str:
        root, function, shape = lazy.root, lazy.function, self._shapes[tensor]
        if isinstance(root, Operator) and not (is_linear(function) or is_rectifier(function)):
            root = self._store(root.output)
        if isinstance(root, str):
            if function is identity:
                return root
            inputs = (root,)
            step = Operator("table", tensor, inputs, tensor, function=function)
            return self._step(step, shape)
        if isinstance(root, Operator):
            return self._step(replace(root, output=tensor, function=function), shape)
        step = replace(root, output=tensor, function=function, stored=tensor)
        if root.depthwise and root.pool is _PICK:
            step = replace(step, output=f"{tensor}@whole", pool=Pool.NONE)
            self._whole.add(step.output)
            shape = self._shapes[root.input]
        return self._step(step, shape)

    def _read(self, tensor: str) -> str:
        """The value that holds a tensor."""
        value = self._store(tensor)
        if value in self._whole:
            value = self._values[tensor] = self._copy(value, tensor, tensor, _PICK)
        return value

    def _copy(self, value: str, tensor: str, output: str, pool: Pool) -> str:
        """A dense 1x1 convolution that changes nothing, for the sake of its pool."""
        channels = self._shapes[value][0]
        copy = Conv(
            name=f"{output} ({pool.name.lower()})",
            input=value,
            output=output,
            weights=np.eye(channels)[:, :, None, None],
            bias=np.zeros(channels),
            depthwise=False,
            sums=tensor,
            stored=tensor,
            pool=pool,
            copies=True,
        )
        check_map(copy.name, self._shapes[value])
        return self._step(copy, self._shapes[output])

    def _operator(
        self, node: NodeProto, kind: Kind, inputs: tuple[str, ...] = (), **more: Any
    ) -> None:
        tensor = node.output[0]
        values = tuple(map(self._read, inputs or node.input[:1]))
        step = Operator(kind, node.name, values, tensor, **more)
        self._lazy[tensor] = _Lazy(self._step(step, self._shapes[tensor]))

    def _elementwise(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        tensor = node.output[0]
        operands: list[Scalar | float] = []
        roots: list[Step | str] = []
        for name in node.input:
            if not name:  # a Clip without the lower bound
                operands.append(-np.inf)
            elif name in self._constants:
                constant = self._constants[name]
                if constant.size != 1:
                    raise unsupported(node, "one number for each channel")
                operands.append(float(constant.reshape(())))
            else:
                operands.append(self._lazy[name].function)
                roots.append(self._lazy[name].root)
        if len({id(root) if not isinstance(root, str) else root for root in roots}) == 1:
            function = compose(node.op_type, attributes, operands)
            self._lazy[tensor] = _Lazy(roots[0], function)
        elif node.op_type == "Add":
            shapes = {self._shapes[name] for name in node.input}
            if len(shapes) > 1:
                raise unsupported(node, "tensors of different shapes")
            inputs = tuple(map(self._read, node.input))
            step = Operator("add", node.name, inputs, tensor)
            self._lazy[tensor] = _Lazy(step)
        else:
            raise unsupported(node, "two different tensors")

    def _convolution(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        source, tensor = node.input[0], node.output[0]
        weights = self._constants[node.input[1]].astype(np.float64)
        attributes = _with_pads({"kernel_shape": weights.shape[2:], **attributes})
        bias = np.zeros(len(weights))
        if len(node.input) == 3:
            bias = self._constants[node.input[2]].astype(np.float64)
        shape, pads = self._shapes[source], attributes.get("pads", [0, 0, 0, 0])
        if weights.shape[2:] == shape[1:] and not any(pads) and attributes.get("group", 1) == 1:
            self._linear(node, weights.reshape(len(weights), -1), bias)
            return
        depthwise = weights.shape[1] == 1 and attributes.get("group", 1) == len(weights) > 1
        check_convolution(node, attributes, weights.shape, shape, depthwise)
        stride = attributes.get("strides", [1, 1])[0]
        pool = _PICK if stride == 2 else Pool.NONE
        takes_pick = not depthwise and weights.shape[2] == 1 and stride == 1
        value = self._store(source) if takes_pick else self._read(source)
        if value in self._whole:
            pool = _PICK
        conv = Conv(
            name=node.name,
            input=value,
            output=tensor,
            weights=weights,
            bias=bias,
            depthwise=depthwise,
            sums=tensor,
            stored=tensor,
            pool=pool,
        )
        self._lazy[tensor] = _Lazy(conv)

    def _gemm(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        if node.input[1] not in self._constants:
            raise unsupported(node, "a product of two tensors")
        weights = self._constants[node.input[1]].astype(np.float64)
        weights = weights if attributes.get("transB") else weights.T
        bias = np.zeros(len(weights))
        if len(node.input) == 3:
            bias = bias + self._constants[node.input[2]].astype(np.float64)
        scale = attributes.get("alpha", 1.0)
        self._linear(node, scale * weights, attributes.get("beta", 1.0) * bias)

    def _linear(self, node: NodeProto, weights: np.ndarray, bias: np.ndarray) -> None:
        """A fully connected layer: a 1x1 convolution of a map of 1x1, if the KPU has the room."""
        source, tensor = node.input[0], node.output[0]
        if prod(self._shapes[source]) != weights.shape[1]:
            raise unsupported(node, "more than one vector")
        if max(weights.shape) > _KPU_FEATURES:
            self._operator(node, "linear", arrays={"weights": weights, "bias": bias})
            return
        value, features = self._read(source), f"{source}@features"
        if prod(self._shapes[value][1:]) > 1:
            if features not in self._shapes:
                step = Operator("reshape", source, (value,), features)
                self._step(step, (weights.shape[1],))
            value = features
        conv = Conv(
            name=node.name,
            input=value,
            output=tensor,
            weights=weights[:, :, None, None],
            bias=bias,
            depthwise=False,
            sums=tensor,
            stored=tensor,
        )
        self._lazy[tensor] = _Lazy(conv)

    def _pool(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        source, tensor = node.input[0], node.output[0]
        kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
        pads = attributes.get("pads", [0, 0, 0, 0])
        shape = self._shapes[source]
        if max(attributes.get("dilations", [1])) > 1:
            raise unsupported(node, "pixels with holes between")
        if node.op_type == "AveragePool" and tuple(kernel) == shape[1:] and not any(pads):
            self._operator(node, "mean")
            return
        square = kernel[0] == kernel[1] == strides[0] == strides[1] and not any(pads)
        pool = _POOLS.get((node.op_type, kernel[0])) if square else None
        if attributes.get("ceil_mode") and any(side % strides[0] for side in shape[1:]):
            pool = None
        if pool is None:
            if node.op_type != "MaxPool" or pads[:2] != pads[2:] or attributes.get("ceil_mode"):
                raise unsupported(node)
            numbers = {"kernel": kernel, "stride": strides, "pad": pads[:2]}
            sides = {
                f"{name}_{side}": value
                for name, values in numbers.items()
                for side, value in zip(("height", "width"), values, strict=True)
            }
            self._operator(node, "max_pool", numbers=sides)
            return
        check_map(node.name, self._shapes[tensor])
        root = self._lazy[source].root
        alone = source not in self._values and self._uses[source] == 1
        if alone and isinstance(root, Conv) and not root.depthwise and root.pool is Pool.NONE:
            stored = source if pool in _MEANS else tensor
            function = self._lazy[source].function
            fused = replace(root, output=tensor, stored=stored, pool=pool, function=function)
            self._lazy[tensor] = _Lazy(self._step(fused, self._shapes[tensor]))
        else:
            value = self._read(source)
            self._lazy[tensor] = _Lazy(self._copy(value, source, tensor, pool))

    def _softmax(self, node: NodeProto) -> None:
        if sum(side > 1 for side in self._shapes[node.input[0]]) > 1:
            raise unsupported(node, "more than one pixel")
        self._operator(node, "softmax")

    def _resize(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        old, new = self._shapes[node.input[0]], self._shapes[node.output[0]]
        nearest = attributes.get("mode", b"nearest") == b"nearest"
        whole = all(b % a == 0 for a, b in zip(old, new, strict=True)) and old[0] == new[0]
        if not (nearest and whole):
            raise unsupported(node)
        self._operator(node, "resize")


def _with_pads(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """``padding="same"`` and ``"valid"`` in numbers; ``same`` only where it is alike on all sides.

    torch has it for stride 1 alone, and an odd kernel is not padded more on one side.
    """
    name, sides = attributes.get("auto_pad", b"NOTSET"), attributes["kernel_shape"]
    odd = all(side % 2 for side in sides) and max(attributes.get("dilations", [1])) == 1
    if name in (b"SAME_UPPER", b"SAME_LOWER") and odd and max(attributes.get("strides", [1])) == 1:
        return {**attributes, "auto_pad": b"NOTSET", "pads": [side // 2 for side in sides] * 2}
    if name == b"VALID":
        return {**attributes, "auto_pad": b"NOTSET", "pads": [0, 0, 0, 0]}
    return attributes


def _is_mean_of_maps(node: NodeProto, attributes: Mapping[str, Any]) -> bool:
    axes = sorted(attributes.get("axes", ()))
    return node.op_type == "ReduceMean" and axes in ([2, 3], [-2, -1])


def _absorb_normalization(network: Network) -> Network:
    """Let the first convolutions read raw pixels where one in front of them only normalises.

    Padding then has to be a pixel of the mean's value, which is no whole number: at the edges the
    answer is off by half a grey level at most. It is possible if all channels have the same.
    """
    first, *others = network.steps
    readers = [step for step in others if first.output in step.inputs]
    dense = [step for step in readers if isinstance(step, Conv) and not step.depthwise]
    if not _normalizes(first) or len(dense) < len(readers) or first.output in network.outputs:
        return network
    scale = np.diag(first.weights[:, :, 0, 0])
    mean = -first.bias / scale
    zero = int(np.rint(mean.mean()))
    if np.abs(mean - zero).max() > 0.5 or not 0 <= zero <= 255:
        return network
    changed: dict[Step, Step] = {}
    for step in dense:
        weights = step.weights * scale[:, None, None]
        # For raw pixels p the sum is over weights * (p - mean), the KPU's over (p - zero).
        bias = step.bias + (weights.sum((2, 3)) * (zero - mean)).sum(1)
        changed[step] = replace(step, input=network.input, weights=weights, bias=bias)
    steps = tuple(changed.get(step, step) for step in others)
    return replace(network, steps=steps, input_zero=zero)


def _normalizes(step: Step) -> TypeGuard[Conv]:
    """Each channel by itself is scaled and shifted."""
    if not isinstance(step, Conv) or step.weights.shape[1:] != (len(step.weights), 1, 1):
        return False
    matrix = step.weights[:, :, 0, 0]
    plain = step.function is identity and step.pool is Pool.NONE and not step.depthwise
    return plain and bool(np.diag(matrix).all()) and np.count_nonzero(matrix) == len(matrix)
