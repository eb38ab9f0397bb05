"""Rewrites of a float32 ONNX graph that keep its function and spare a CPU work.

| what                                                 | becomes                                   |
|------------------------------------------------------|-------------------------------------------|
| a 1x1 convolution, then the average of the whole map | the average, then the convolution: of one |
|                                                      | pixel                                     |
| a Concat, then a convolution                         | the sum of the parts' convolutions: the   |
|                                                      | runtime adds as it convolves, and copies  |
|                                                      | nothing                                   |
| of such a part: nearest upsampling, then a 1x1       | the convolution, then the upsampling: a   |
| convolution                                          | quarter of the pixels                     |

They are equalities of linear algebra. Floats are added in another order, so answers differ in their
last digits. In int8 they would not be equalities: each new tensor is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference


def optimize_graph(proto: ModelProto) -> ModelProto:
    """Rewrite a network in place, and return it.

    Args:
        proto: as :class:`~.graph.Graph` writes it: static, every tensor's shape noted.
    """
    rewriter = _Rewriter(proto)
    changes = rewriter.pool_before_heads() + rewriter.split_concats()
    return rewriter.finish() if changes else proto


class _Rewriter:
    """A graph, and what a rewrite asks of it. A rewrite answers how often it applied."""

    def __init__(self, proto: ModelProto) -> None:
        self._proto = proto
        self._nodes = list(proto.graph.node)
        self._arrays = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._producers = {name: node for node in self._nodes for name in node.output}
        self._outputs = {value.name for value in proto.graph.output}
        self._shapes = {
            value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output)
        }

    def finish(self) -> ModelProto:
        """The rewritten graph, without what nothing reads any more."""
        used = set(self._outputs)
        kept: list[NodeProto] = []
        for node in reversed(self._nodes):
            if used.intersection(node.output):
                kept.append(node)
                used.update(node.input)
        graph = self._proto.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(t for name, t in self._arrays.items() if name in used)
        return shape_inference.infer_shapes(self._proto)

    def pool_before_heads(self) -> int:
        """``mean(w * x + b)`` is ``w * mean(x) + b`` where ``w`` is 1x1."""
        count = 0
        for pool in filter(self._is_global_pool, list(self._nodes)):
            between = pool.input[0]
            conv = self._producers.get(between)
            if conv is None or not _is_pointwise(conv) or self._readers(between) != [pool]:
                continue
            pool.input[0], conv.input[0] = conv.input[0], between
            pool.output[0], conv.output[0] = between, pool.output[0]
            self._nodes.remove(pool)
            self._nodes.insert(self._nodes.index(conv), pool)
            count += 1
        return count

    def split_concats(self) -> int:
        """``w * [a, b]`` is ``w_a * a + w_b * b``."""
        count = 0
        for concat in list(self._nodes):
            if concat.op_type != "Concat" or _attribute(concat, "axis", None) != 1:
                continue
            readers = self._readers(concat.output[0])
            if len(concat.input) > 1 and all(map(_is_dense, readers)):
                for conv in readers:
                    self._split(conv, concat.input)
                    count += 1
        return count

    def _split(self, conv: NodeProto, parts: Sequence[str]) -> None:
        weight = numpy_helper.to_array(self._arrays[conv.input[1]])
        ends = np.cumsum([self._shapes[part][1] for part in parts])
        nodes: list[NodeProto] = []
        answers = [f"{conv.output[0]}.{i}" for i in range(len(parts))]
        for i, values in enumerate(np.split(weight, ends[:-1], axis=1)):
            name = f"{conv.output[0]}.weight{i}"
            self._arrays[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
            bias = conv.input[2:] if i == 0 else []
            nodes += self._convolve(conv, parts[i], [name, *bias], answers[i])
        sums = [f"{answer}.sum" for answer in answers[1:-1]] + [conv.output[0]]
        for left, right, total in zip([answers[0], *sums[:-1]], answers[1:], sums, strict=True):
            nodes.append(helper.make_node("Add", [left, right], [total], name=total))
        at = self._nodes.index(conv)
        self._nodes[at : at + 1] = nodes

    def _convolve(
        self, conv: NodeProto, part: str, weights: Sequence[str], answer: str
    ) -> list[NodeProto]:
        """``conv`` of one part; in front of the upsampling that made it, where that is equal."""
        resize = self._producers.get(part)
        if resize is None or not _is_pointwise(conv) or not self._is_nearest_upsampling(resize):
            return [_copy(conv, [part, *weights], answer)]
        small = f"{answer}.small"
        return [
            _copy(conv, [resize.input[0], *weights], small),
            _copy(resize, [small, *resize.input[1:]], answer),
        ]

    def _readers(self, name: str) -> list[NodeProto]:
        """None of a tensor that the network answers with, since it has to stay."""
        if name in self._outputs:
            return []
        return [node for node in self._nodes if name in node.input]

    def _is_global_pool(self, node: NodeProto) -> bool:
        if node.op_type != "AveragePool" or any(_attribute(node, "pads", [])):
            return False
        return _attribute(node, "kernel_shape", []) == self._shapes[node.input[0]][2:]

    def _is_nearest_upsampling(self, node: NodeProto) -> bool:
        """By factors of height and width: given sizes would name the channels too."""
        if node.op_type != "Resize" or len(node.input) != 3:
            return False
        source, target = self._shapes[node.input[0]], self._shapes[node.output[0]]
        larger = source[:2] == target[:2] and math.prod(source) < math.prod(target)
        return larger and _attribute(node, "mode", b"") == b"nearest"


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return found[0] if found else default


def _is_dense(node: NodeProto) -> bool:
    return node.op_type == "Conv" and _attribute(node, "group", 1) == 1


def _is_pointwise(node: NodeProto) -> bool:
    steps = {*_attribute(node, "kernel_shape", [0]), *_attribute(node, "strides", [])}
    return _is_dense(node) and steps == {1} and not any(_attribute(node, "pads", []))


def _copy(node: NodeProto, inputs: Sequence[str], output: str) -> NodeProto:
    copied = helper.make_node(node.op_type, inputs, [output], name=output)
    copied.attribute.extend(node.attribute)
    return copied
