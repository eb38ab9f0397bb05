"""What PPLNN's x86 engine cannot do, or not rightly: rules for ``edgeark check``.

From its documents and source (ppl.nn at bb84dc9), and from a build of it that was tried by hand
once and is not to be had here. The export checks the file itself besides, node by node:
:mod:`edgeark.export.backends.pplnn.onnx_passes`.
"""

from __future__ import annotations

from ....words import format_shape
from ...graph.network import Op
from ...lint import onnx_file
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

# Operators of torch, and what of their ONNX form PPLNN does not have.
UNKNOWN = {
    "log_softmax": "LogSoftmax",
    "group_norm": "InstanceNormalization",
    "instance_norm": "InstanceNormalization",
    "linalg_vector_norm": "ReduceL2",
    "logsumexp": "ReduceLogSumExp",
    "elu": "Elu",
    "selu": "Selu",
    "mish": "Softplus",
    "softplus": "Softplus",
    "hardshrink": "Or",
    "round": "Round",
    "fmod": "Mod",
    "reciprocal": "Reciprocal",
    "argmin": "ArgMin",
    "atan": "Atan",
    "isnan": "IsNaN",
    "__or__": "Or",
    "__xor__": "Xor",
}
_LATER = (
    *("celu", "channel_shuffle", "einsum", "grid_sampler", "scaled_dot_product_attention"),
    *("trunc", "_upsample_nearest_exact2d"),
)


@rules.op(
    *UNKNOWN,
    name="unknown-operator",
    reason="PPLNN has no such operator",
    fix="build it of listed ones (docs/pplnn.md), or end the network before it",
)
def unknown(op: Op) -> str | None:
    return f"{op.kind}, in ONNX {UNKNOWN[op.kind]}"


@rules.op(
    *_LATER,
    name="later-operator",
    reason="opset 11 has no such operator, and what PPLNN has of later ones leaves out Reshape, "
    "Softmax, Squeeze and others",
    fix="build it of convolutions, activations, pools and reshapes",
)
def later(op: Op) -> str | None:
    return op.kind


@rules.op(
    *("adaptive_avg_pool2d", "adaptive_max_pool2d"),
    name="uneven-pool",
    reason="its windows differ in size, for which opset 11 has no operator",
    fix="choose sizes that divide the map's, or a pool with a kernel",
)
def uneven_pool(op: Op) -> str | None:
    before, after = op.input_shapes[0][2:], op.shape[2:]
    if all(n % m == 0 for n, m in zip(before, after, strict=True)):
        return None
    return f"pooling {format_shape(before)} to {format_shape(after)}"


@rules.op(
    "upsample_bicubic2d",
    name="bicubic",
    reason="PPLNN's Resize has no kernel for it",
    fix="use nearest or bilinear, which the export rewrites to what PPLNN has",
)
def bicubic(op: Op) -> str | None:
    return "bicubic resizing"


@rules.op(
    "squeeze",
    name="squeeze-of-all",
    reason="PPLNN computes something else, without a word",
    fix="name the axes: squeeze(3).squeeze(2)",
)
def squeeze_of_all(op: Op) -> str | None:
    return None if "dim" in op.arguments else "squeeze() of every axis"


@rules.op(
    *("pad", "constant_pad_nd"),
    name="uneven-padding",
    reason="PPLNN computes something else, without a word",
    fix="pad alike on both sides, inside the convolution or the pool",
)
def uneven_padding(op: Op) -> str | None:
    pads = op.arguments["pad"]
    is_constant = op.arguments.get("mode", "constant") == "constant"
    return f"constant padding by {pads}" if is_constant and pads[::2] != pads[1::2] else None
