"""What the KPU cannot do, in words: which node, which limit, what to use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import NodeProto

from ....core.messages import format_shape
from ..layer import KmodelError
from .advice import ADVICE, BY_ONNX_OPERATOR

MAX_CHANNELS = 1024
SMALLEST_MAP = 4
MAX_HEIGHT, MAX_WIDTH = 256, 512


def unsupported(node: NodeProto, detail: str = "") -> KmodelError:
    """An error for a node that neither the KPU nor the firmware can compute."""
    what = f"{node.op_type} of {detail}" if detail else node.op_type
    topic = BY_ONNX_OPERATOR.get(node.op_type)
    fix = ADVICE[topic] if topic else "use 1x1 and 3x3 convolutions, activations and pools"
    return KmodelError(f"{_name(node)}: the K210 cannot compute this {what}; {fix}")


def check_map(name: str, shape: Sequence[int]) -> None:
    """Raise KmodelError unless the KPU can hold ``(channels, height, width)``."""
    channels, height, width = shape
    if channels > MAX_CHANNELS:
        raise KmodelError(
            f"{name}: {channels} channels, the KPU ends at {MAX_CHANNELS}; {ADVICE['channels']}"
        )
    if min(height, width) < SMALLEST_MAP:
        raise KmodelError(
            f"{name}: a map of {height}x{width}, the KPU's smallest is "
            f"{SMALLEST_MAP}x{SMALLEST_MAP}; {ADVICE['small-map']}"
        )
    if height > MAX_HEIGHT or width > MAX_WIDTH:
        raise KmodelError(
            f"{name}: a map of {height}x{width}, the KPU's largest is {MAX_HEIGHT}x{MAX_WIDTH} "
            f"(height x width); {ADVICE['large-map']}"
        )


def check_convolution(
    node: NodeProto,
    attributes: Mapping[str, Any],
    weights: Sequence[int],
    shape: Sequence[int],
    depthwise: bool,
) -> None:
    """Raise KmodelError unless the KPU computes this convolution.

    Args:
        node: for its name.
        attributes: the node's.
        weights: shape ``[out, in / groups, k, k]``.
        shape: the input's ``(channels, height, width)``.
        depthwise: each channel has its own filter.
    """
    name, kernel = _name(node), tuple(weights[2:])
    groups, dilations = attributes.get("group", 1), attributes.get("dilations", [1, 1])
    strides, pads = attributes.get("strides", [1, 1]), list(attributes.get("pads", [0] * 4))

    def refuse(problem: str, fix: str) -> KmodelError:
        return KmodelError(f"{name}: {problem}; {fix}")

    if kernel not in ((1, 1), (3, 3)):
        raise refuse(
            f"a kernel of {format_shape(kernel)}, the KPU has 1x1 and 3x3",
            ADVICE["kernel"],
        )
    if groups > 1 and not depthwise:
        raise refuse(f"{groups} groups", ADVICE["groups"])
    if list(dilations) != [1, 1]:
        raise refuse(f"dilation {dilations[0]}", ADVICE["dilation"])
    if strides[0] != strides[1] or strides[0] not in (1, 2):
        raise refuse(f"stride {strides[0]}x{strides[1]}, the KPU has 1 and 2", ADVICE["stride"])
    if strides[0] == 2 and (shape[1] % 2 or shape[2] % 2):
        raise refuse(
            f"stride 2 on an odd map of {shape[1]}x{shape[2]}, where the KPU drops the last pixel",
            ADVICE["odd-map"],
        )
    margin = kernel[0] // 2
    wanted = [[margin] * 4] + ([[1, 1, 0, 0]] if strides[0] == 2 and margin else [])
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or pads not in wanted:
        raise refuse(
            f"padding {pads} (top, left, bottom, right)",
            ADVICE["padding"],
        )
    check_map(name, (max(weights[0], shape[0]), *shape[1:]))


def _name(node: NodeProto) -> str:
    return node.name or node.output[0]
