"""What the KPU cannot do, in words: which node, which limit, what to use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import NodeProto

from ..layer import KmodelError

MAX_CHANNELS = 1024
SMALLEST_MAP = 4
MAX_HEIGHT, MAX_WIDTH = 256, 512

_FIXES = {
    "ConvTranspose": "upsample by nearest and convolve",
    "BatchNormalization": "put it right behind a convolution, where it folds into that",
    "InstanceNormalization": "use batch normalisation",
    "LayerNormalization": "use batch normalisation",
    "PRelu": "use ReLU or LeakyReLU, whose slope is one number",
    "Pad": "give the next convolution the padding, the same on all sides",
    "Slice": "take it out of the network",
    "Split": "convolve twice instead",
    "Transpose": "keep the channels in front and decode outside of the network",
    "Resize": "use nearest with a whole factor",
    "AveragePool": "use 2x2 with stride 2, 4x4 with stride 4, or the whole map",
    "MaxPool": "pad alike on both sides, without ceil_mode",
    "MatMul": "use convolutions, or a linear layer of one vector",
    "Gemm": "flatten in front of it",
    "Softmax": "take it out of the network",
    "Concat": "concatenate channels",
    "Erf": "use SiLU or hard swish instead of GELU",
    "Mul": "take it out of the network",
    "Add": "add tensors of one shape",
}


def unsupported(node: NodeProto, detail: str = "") -> KmodelError:
    """An error for a node that neither the KPU nor the firmware can compute."""
    what = f"{node.op_type} of {detail}" if detail else node.op_type
    fix = _FIXES.get(node.op_type, "use 1x1 and 3x3 convolutions, activations and pools")
    return KmodelError(f"{_name(node)}: the K210 cannot compute this {what}; {fix}")


def check_map(name: str, shape: Sequence[int]) -> None:
    """Raise KmodelError unless the KPU can hold ``(channels, height, width)``."""
    channels, height, width = shape
    if channels > MAX_CHANNELS:
        raise KmodelError(
            f"{name}: {channels} channels, the KPU ends at {MAX_CHANNELS}; make it narrower"
        )
    if min(height, width) < SMALLEST_MAP:
        raise KmodelError(
            f"{name}: a map of {height}x{width}, the KPU's smallest is "
            f"{SMALLEST_MAP}x{SMALLEST_MAP}; use a larger input or fewer strides"
        )
    if height > MAX_HEIGHT or width > MAX_WIDTH:
        raise KmodelError(
            f"{name}: a map of {height}x{width}, the KPU's largest is {MAX_HEIGHT}x{MAX_WIDTH} "
            f"(height x width); use a smaller input"
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
            f"a kernel of {kernel[0]}x{kernel[1]}, the KPU has 1x1 and 3x3",
            "use 3x3 ones in its place (two reach as far as a 5x5)",
        )
    if groups > 1 and not depthwise:
        raise refuse(f"{groups} groups", "use groups=1, or as many as channels (depthwise)")
    if list(dilations) != [1, 1]:
        raise refuse(f"dilation {dilations[0]}", "use dilation=1, with a stride before it")
    if strides[0] != strides[1] or strides[0] not in (1, 2):
        raise refuse(f"stride {strides[0]}x{strides[1]}, the KPU has 1 and 2", "use stride 2")
    if strides[0] == 2 and (shape[1] % 2 or shape[2] % 2):
        raise refuse(
            f"stride 2 on an odd map of {shape[1]}x{shape[2]}, where the KPU drops the last pixel",
            "use an input whose sides can be halved that often",
        )
    margin = kernel[0] // 2
    wanted = [[margin] * 4] + ([[1, 1, 0, 0]] if strides[0] == 2 and margin else [])
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or pads not in wanted:
        raise refuse(
            f"padding {pads} (top, left, bottom, right)",
            f"use padding={margin} on all sides, as the KPU does",
        )
    check_map(name, (max(weights[0], shape[0]), *shape[1:]))


def _name(node: NodeProto) -> str:
    return node.name or node.output[0]
