"""The spec's normalisation moved into an ONNX graph, for chips that take an image as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from .files import INPUT_NAME

_NAME = "normalize"


def fold_normalization(
    proto: ModelProto, mean: Sequence[float], std: Sequence[float]
) -> ModelProto:
    """A copy of a network that answers ``x`` as ``proto`` answers ``(x - mean) / std``.

    The normalisation goes into the first convolution. That is not exact where a mean other than 0
    meets padding: the padded zeros stood for pixels of the mean's value. There, and where no single
    dense convolution reads the input, a 1x1 convolution in front of the network does it.

    Args:
        proto: a static network with one input, ``[1, C, H, W]``, as :class:`Graph` writes it.
        mean: per channel, in the units of ``x``.
        std: per channel, in the units of ``x``.
    """
    folded = ModelProto()
    folded.CopyFrom(proto)
    scale = 1 / np.asarray(std, np.float64)
    shift = -np.asarray(mean, np.float64) * scale
    readers = [node for node in folded.graph.node if INPUT_NAME in node.input]
    if len(readers) == 1 and _is_foldable(readers[0], bool(shift.any())):
        _fold(folded, readers[0], scale, shift)
    else:
        _prepend(folded, readers, scale, shift)
    return folded


def _is_foldable(node: NodeProto, shifted: bool) -> bool:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    dense = node.op_type == "Conv" and attributes.get("group", 1) == 1
    return dense and not (shifted and any(attributes.get("pads", ())))


def _fold(folded: ModelProto, node: NodeProto, scale: np.ndarray, shift: np.ndarray) -> None:
    """``w * (scale * x + shift) + b`` is ``(w * scale) * x + (b + sum(w * shift))``."""
    old = {tensor.name: tensor for tensor in folded.graph.initializer}
    weight = numpy_helper.to_array(old[node.input[1]]).astype(np.float64)
    bias = numpy_helper.to_array(old[node.input[2]]) if len(node.input) == 3 else 0.0
    values = {
        f"{_NAME}.weight": weight * scale[:, None, None],
        f"{_NAME}.bias": bias + (weight * shift[:, None, None]).sum((1, 2, 3)),
    }
    node.input[:] = [INPUT_NAME, *values]
    _add_initializers(folded, values)
    used = {name for each in folded.graph.node for name in each.input}
    kept = [tensor for tensor in folded.graph.initializer if tensor.name in used]
    del folded.graph.initializer[:]
    folded.graph.initializer.extend(kept)


def _prepend(
    folded: ModelProto, readers: Sequence[NodeProto], scale: np.ndarray, shift: np.ndarray
) -> None:
    for node in readers:
        node.input[:] = [_NAME if name == INPUT_NAME else name for name in node.input]
    values = {f"{_NAME}.weight": np.diag(scale)[:, :, None, None], f"{_NAME}.bias": shift}
    _add_initializers(folded, values)
    inputs = [INPUT_NAME, *values]
    convolution = helper.make_node("Conv", inputs, [_NAME], name=_NAME, kernel_shape=[1, 1])
    folded.graph.node.insert(0, convolution)
    shape = [d.dim_value for d in folded.graph.input[0].type.tensor_type.shape.dim]
    described = helper.make_tensor_value_info(_NAME, onnx.TensorProto.FLOAT, shape)
    folded.graph.value_info.append(described)


def _add_initializers(folded: ModelProto, values: Mapping[str, np.ndarray]) -> None:
    for name, array in values.items():
        folded.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
