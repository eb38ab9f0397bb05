"""What RKNN-Toolkit 1.7 does not load, or not rightly, as Rockchip publishes it.

From ``RKNN_OP_Support_And_Limit.xlsx`` (1.7.3 and 1.7.5, PyTorch and ONNX at opset 12), changelog
and issues of rockchip-linux/rknn-toolkit. Nothing of it was tried: the toolkit is not to be had
here. What one loader alone knows is a warning that names that route of ``convert.py``.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import onnx_file, predicates
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_BOTH = """
    conv1d conv2d conv_transpose1d conv_transpose2d avg_pool2d max_pool2d adaptive_avg_pool2d pad
    constant_pad_nd clamp elu gelu hardsigmoid hardswish hardtanh leaky_relu log_softmax mish prelu
    relu relu6 sigmoid silu softmax tanh batch_norm instance_norm group_norm layer_norm lstm
    upsample_nearest2d upsample_bilinear2d linear matmul mm addmm add mul sub div exp log pow sqrt
    mean sum max min amax amin cat concat chunk flatten permute reshape slice select split
    split_with_sizes squeeze unsqueeze stack transpose view
"""
_PYTORCH_ALONE = """
    avg_pool1d max_pool1d erf gru pixel_shuffle cos ceil maximum minimum tile embedding_renorm
    reflection_pad2d embedding
"""
_NEITHER = """
    conv3d conv_transpose3d max_pool3d avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d adaptive_avg_pool1d adaptive_avg_pool3d celu selu softplus softsign
    log_sigmoid upsample_nearest1d upsample_linear1d upsample_bicubic2d eq ne lt le gt ge where take
    logical_and logical_or logical_not logical_xor topk
"""
# What leaves no operator behind in a network for inference.
_NOTHING = """
    dropout feature_dropout detach contiguous clone alias to _assert_tensor_metadata lift_fresh_copy
"""


@rules.op(
    name="unsupported-operator",
    reason="neither loader of RKNN-Toolkit 1.7 knows it",
    fix="build it of convolutions, listed activations, Add, Mul, Concat and 2-D pools",
)
def unsupported(op: Op) -> str | None:
    return op.kind if op.kind in _NEITHER.split() else None


@rules.op(
    name="unlisted-operator",
    severity="warning",
    reason="it is in none of RKNN-Toolkit 1.7's lists",
    fix="replace it by a listed one, or try both routes of convert.py",
)
def unlisted(op: Op) -> str | None:
    known = f"{_BOTH} {_PYTORCH_ALONE} {_NEITHER} {_NOTHING}".split()
    is_aten = not op.kind.startswith("<")  # picking one of several results is Python's
    return op.kind if is_aten and op.kind not in known else None


@rules.op(
    name="pytorch-route-alone",
    severity="warning",
    reason="the toolkit's ONNX loader does not know it",
    fix="convert with `convert.py --route pytorch`",
)
def pytorch_alone(op: Op) -> str | None:
    if op.kind == "max_pool2d" and predicates.adds_windows(op):
        return "max pool with ceil_mode"
    if op.kind == "max_pool2d" and op.pair("dilation") != (1, 1):
        return f"max pool with dilation {op.pair('dilation')}"
    if op.kind == "pad" and op.arguments["mode"] == "reflect":
        return "reflecting padding"
    return op.kind if op.kind in _PYTORCH_ALONE.split() else None


@rules.op(
    *("conv2d", "conv_transpose2d"),
    name="uneven-dilation",
    reason="both must be equal, or one of them 1",
    fix="give the kernel one dilation for both axes",
)
def uneven_dilation(op: Op) -> str | None:
    vertical, horizontal = op.pair("dilation")
    uneven = vertical != horizontal and min(vertical, horizontal) > 1
    return f"dilation {vertical}x{horizontal}" if uneven else None


@rules.op(
    "conv2d",
    name="dilated-depthwise-stride",
    reason="a dilated depthwise convolution has stride 1 alone (issue 82 of rknn-toolkit)",
    fix="put the stride into a layer without dilation",
)
def dilated_depthwise(op: Op) -> str | None:
    if predicates.is_depthwise(op) and op.pair("dilation") != (1, 1) and op.stride != (1, 1):
        return f"stride {op.stride} with dilation {op.pair('dilation')}"
    return None


@rules.op(
    *("pad", "constant_pad_nd"),
    name="padding-value",
    severity="warning",
    reason="a quantised network pads with 0 alone",
    fix="pad with 0, inside the convolution or the pool",
)
def padding_value(op: Op) -> str | None:
    value = op.arguments.get("value")
    constant = op.arguments.get("mode", "constant") == "constant"
    return f"padding with {value}" if constant and value else None


@rules.op(
    "pad",
    name="padding-mode",
    reason="padding is constant or reflecting",
    fix="pad with 0, inside the convolution or the pool",
)
def padding_mode(op: Op) -> str | None:
    mode = op.arguments["mode"]
    return f"padding mode {mode}" if mode not in ("constant", "reflect") else None


@rules.op(
    *("upsample_nearest2d", "upsample_bilinear2d"),
    name="fractional-size",
    reason="input size times factor has to be a whole number",
    fix="choose an input size that the factor makes whole, or the factor 2",
)
def fractional_size(op: Op) -> str | None:
    sides = zip(op.input_shapes[0][2:], op.scale_factors, strict=False)
    sizes = [side * factor for side, factor in sides if factor is not None]
    return f"a size of {sizes}" if any(size != int(size) for size in sizes) else None


@rules.op(
    "upsample_bilinear2d",
    name="bilinear-pixel-centres",
    severity="warning",
    reason="no document says that RKNN-Toolkit 1.7 has pixel centres at half-integers",
    fix="use nearest, or align_corners=True (mode bilinear_ac of the zoo) and train with it",
)
def pixel_centres(op: Op) -> str | None:
    return None if op.arguments["align_corners"] else "bilinear with align_corners=False"


@rules.op(
    *("softmax", "log_softmax"),
    name="softmax-1d",
    reason="it takes two dimensions or more",
    fix="keep the batch dimension; better, leave the softmax to the decoder",
)
def softmax_1d(op: Op) -> str | None:
    return "of one dimension" if len(op.shape) == 1 else None


@rules.op(
    "div",
    name="division-broadcast",
    reason="a division does not broadcast",
    fix="multiply by the reciprocal, or bring both to one shape",
)
def division(op: Op) -> str | None:
    shapes = op.input_shapes
    return f"{shapes[0]} by {shapes[1]}" if len(set(shapes)) > 1 else None


@rules.op(
    *("cat", "concat"),
    name="joined-outputs",
    severity="warning",
    reason="8 bits have one scale for all of it: boxes leave none of it to scores (issue 93)",
    fix="return the parts as outputs of their own",
)
def joined_outputs(op: Op) -> str | None:
    return "the network's output is a Concat" if op.is_output else None
