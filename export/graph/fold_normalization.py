"""The spec's normalisation moved into an ONNX graph, for chips that take an image as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .files import INPUT_NAME
from .onnx_passes import add_constant, constant_of, onnx_pass

_NAME = "normalize"


@onnx_pass
def fold_normalization(model: ir.Model, mean: Sequence[float], std: Sequence[float]) -> None:
    """A copy of a network that answers ``x`` as ``proto`` answers ``(x - mean) / std``.

    The normalisation goes into the first convolution. That is not exact where a mean other than 0
    meets padding: the padded zeros stood for pixels of the mean's value. There, and where no single
    dense convolution reads the input, a 1x1 convolution in front of the network does it.

    Args:
        model: a static network with one input, ``[1, C, H, W]``, as :class:`Graph` writes it.
        mean: per channel, in the units of ``x``.
        std: per channel, in the units of ``x``.
    """
    scale = 1 / np.asarray(std, np.float64)
    shift = -np.asarray(mean, np.float64) * scale
    (image,) = (value for value in model.graph.inputs if value.name == INPUT_NAME)
    readers = list(image.consumers())
    if len(readers) == 1 and _is_foldable(readers[0], bool(shift.any())):
        _fold(model.graph, readers[0], scale, shift)
    else:
        _prepend(model.graph, image, scale, shift)


def _is_foldable(node: ir.Node, shifted: bool) -> bool:
    is_dense = node.op_type == "Conv" and node.attributes.get_int("group", 1) == 1
    return is_dense and not (shifted and any(node.attributes.get_ints("pads", [])))


def _fold(graph: ir.Graph, node: ir.Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """``w * (scale * x + shift) + b`` is ``(w * scale) * x + (b + sum(w * shift))``."""
    kernel, *biases = (constant_of(value) for value in node.inputs[1:])
    assert kernel is not None
    bias = biases[0] if biases else None
    weight = kernel.astype(np.float64)
    moved = (weight * shift[:, None, None]).sum((1, 2, 3))
    node.resize_inputs(3)
    node.replace_input_with(1, _add(graph, "weight", weight * scale[:, None, None]))
    node.replace_input_with(2, _add(graph, "bias", moved if bias is None else bias + moved))


def _prepend(graph: ir.Graph, image: ir.Value, scale: np.ndarray, shift: np.ndarray) -> None:
    weights = (_add(graph, "weight", np.diag(scale)[:, :, None, None]), _add(graph, "bias", shift))
    node = ir.node("Conv", [image, *weights], {"kernel_shape": [1, 1]}, name=_NAME)
    (normalized,) = node.outputs
    normalized.name, normalized.type, normalized.shape = _NAME, image.type, image.shape
    image.replace_all_uses_with(normalized)
    node.replace_input_with(0, image)
    graph.insert_before(graph[0], node)


def _add(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    return add_constant(graph, f"{_NAME}.{name}", array.astype(np.float32))
