"""What PPLNN's x86 engine cannot do, or not rightly: rules for ``edgeark check``.

From its documents and source (ppl.nn at bb84dc9), and from builds of 76ed936 that were tried by
hand and are not to be had here. The export writes what has an equal form in that form
(:mod:`edgeark.export.backends.pplnn.onnx_forms`), and checks the file itself, node by node
(:mod:`edgeark.export.backends.pplnn.onnx_passes`).
"""

from __future__ import annotations

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import common, onnx_file
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_WRONG = "PPLNN computes something else, without a word"

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
    reason="opset 11 has no such operator, and what PPLNN has of later ones leaves out many",
    fix="build it of convolutions, activations, pools and reshapes",
)
def later(op: Op) -> str | None:
    return op.kind


rules.add(common.uneven_pool("PyTorch cannot write it at opset 11"))


@rules.op(
    "squeeze",
    name="squeeze-of-all",
    reason=_WRONG,
    fix="name the axes: squeeze(3).squeeze(2)",
)
def squeeze_of_all(op: Op) -> str | None:
    return None if "dim" in op.arguments else "squeeze() of every axis"


rules.add(common.dilated_pool("PPLNN stops with an error"))
rules.add(common.max_unpool("PyTorch cannot write it at opset 11"))


rules.add(common.average_ceil_mode(f"the last window's border is wrong: {_WRONG}"))


@rules.op(
    "conv_transpose2d",
    name="transposed-groups",
    reason=f"the shape is wrong: {_WRONG}",
    fix="use groups=1 without output_padding, or resize and convolve",
)
def transposed_groups(op: Op) -> str | None:
    if op.arguments["groups"] > 1:
        return f"a transposed convolution of {op.arguments['groups']} groups"
    extra = op.pair("output_padding", 0)
    return None if extra == (0, 0) else f"a transposed convolution with output_padding {extra}"


@rules.op(
    "conv2d",
    name="uneven-same-padding",
    reason=f"the border is wrong: {_WRONG}",
    fix="pad by F.pad before a convolution without padding, or use an odd kernel",
)
def uneven_same_padding(op: Op) -> str | None:
    reaches = (d * (k - 1) for d, k in zip(op.pair("dilation"), op.kernel, strict=True))
    is_uneven = op.arguments["padding"] == "same" and any(reach % 2 for reach in reaches)
    return f"a convolution {format_shape(op.kernel)} with padding='same'" if is_uneven else None


@rules.op(
    *("avg_pool1d", "max_pool1d", "adaptive_avg_pool1d", "adaptive_max_pool1d"),
    *("upsample_nearest1d", "upsample_linear1d"),
    *("conv3d", "conv_transpose3d", "avg_pool3d", "max_pool3d", "prod"),
    name="rows-and-volumes",
    reason="PPLNN stops with an error, or dies of SIGSEGV",
    fix="keep maps of four dimensions: x.unsqueeze(2) before, squeeze(2) behind",
)
def rows_and_volumes(op: Op) -> str | None:
    return op.kind
