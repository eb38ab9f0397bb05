"""What ExecuTorch refuses or gets wrong, and what XNNPACK leaves to its slower kernels.

Each was seen with ExecuTorch 1.5.1, and ``test_executorch_rules.py`` sees it again.
"""

from __future__ import annotations

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import common, predicates
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")

_CHANNELS_LAST = {
    *("conv2d", "conv_transpose2d", "batch_norm", "prelu", "avg_pool2d", "adaptive_avg_pool2d"),
    *("max_pool2d", "upsample_bilinear2d"),
}
_LAST_BY_KEEPING = {
    *("abs", "ceil", "clamp", "exp", "floor", "gelu", "hardswish", "hardtanh", "leaky_relu"),
    *("log", "neg", "pow", "relu", "relu6", "rsqrt", "sigmoid", "silu", "softmax", "sqrt"),
    *("tanh", "add", "div", "maximum", "minimum", "mul", "sub", "cat", "pad", "permute"),
    *("slice", "transpose", "dropout", "hardsigmoid"),
}
_PORTABLE = "XNNPACK does not take it, and ExecuTorch's own kernel is slow"


@rules.op(
    "adaptive_max_pool2d",
    name="adaptive-max-pool",
    reason="ExecuTorch refuses it",
    fix="use amax, or nn.MaxPool2d",
)
def adaptive_max_pool(op: Op) -> str | None:
    return f"an adaptive max pool to {format_shape(op.shape[2:])}"


@rules.op(
    "max",
    name="max-with-place",
    reason="ExecuTorch refuses it",
    fix="use amax, or keepdim=True",
)
def max_with_place(op: Op) -> str | None:
    return "max over a dimension" if op.arguments.get("keepdim") is False else None


rules.add(common.negative_padding("ExecuTorch's runtime stops there"))


rules.add(
    common.fractional_size(
        "upsample_bilinear2d",
        reason="XNNPACK goes by the ratio of the sizes, PyTorch by the factor: the values are "
        "wrong",
    )
)


@rules.op(
    *("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bicubic2d"),
    "_upsample_bilinear2d_aa",
    name="portable-resize",
    severity="warning",
    reason=_PORTABLE,
    fix="use bilinear resizing without antialias, or a transposed convolution",
)
def portable_resize(op: Op) -> str | None:
    mode = op.kind.removeprefix("_").removeprefix("upsample_")
    return f"resizing by {mode.replace('2d', '').replace('_', ' ')}"


@rules.op(
    *("avg_pool2d", "adaptive_avg_pool2d", "max_pool2d"),
    name="portable-pool",
    severity="warning",
    reason=_PORTABLE,
    fix="pad with count_include_pad=False, leave ceil_mode and divisor_override, and make the "
    "stride no larger than the kernel",
)
def portable_pool(op: Op) -> str | None:
    if op.kind == "adaptive_avg_pool2d":
        return (
            None if op.shape[2:] == (1, 1) else f"an adaptive pool to {format_shape(op.shape[2:])}"
        )
    if op.kind == "max_pool2d":
        skips = any(s > k for s, k in zip(op.stride, op.kernel, strict=True))
        return "a max pool that skips pixels" if skips else None
    given = op.arguments
    if given["ceil_mode"] or given["divisor_override"] is not None:
        return "an average pool with ceil_mode or divisor_override"
    is_padded = op.pair("padding", 0) != (0, 0)
    counts = is_padded and not predicates.uncounted_padding(op)
    return "an average pool that counts its padding" if counts else None


@rules.op(
    *("mean", "amax", "sum", "var", "std", "linalg_vector_norm"),
    name="portable-reduction",
    severity="warning",
    reason=_PORTABLE,
    fix="of a mean over height and width keep the dimensions: mean((2, 3), keepdim=True)",
)
def portable_reduction(op: Op) -> str | None:
    if not op.input_shapes:  # of weights alone
        return None
    if op.kind != "mean":
        return op.kind.replace("_", " ")
    if not op.arguments.get("keepdim"):
        return "a mean without keepdim"
    is_taken = predicates.is_mean_of_map(op)
    return None if is_taken else "a mean over other dimensions than height and width"


rules.op(
    "slice",
    name="portable-slice",
    severity="warning",
    reason=_PORTABLE,
    fix="use a strided convolution",
)(predicates.strided_slice)


@rules.op(
    "softmax",
    name="softmax-over-width",
    reason="XNNPACK has the channels last and takes it over them: the values are wrong",
    fix="flatten the map first: x.flatten(2).softmax(2)",
)
def softmax_over_width(op: Op) -> str | None:
    is_last = op.arguments["dim"] in (-1, 3)
    is_wrong = len(op.shape) == 4 and is_last and _is_channels_last(op.before)
    return "softmax over the width of a map" if is_wrong else None


def _is_channels_last(op: Op | None) -> bool:
    """Whether XNNPACK holds the result with channels last: a map's operators leave it so.

    The elementwise ones keep what they are given; views, matrix products and whatever XNNPACK
    does not take give the layout that PyTorch has.
    """
    waiting: list[Op | None] = [op]
    seen: set[Op] = set()
    while waiting:
        each = waiting.pop()
        if each is None or each in seen:
            continue
        seen.add(each)
        if each.kind in _LAST_BY_KEEPING:
            waiting += each.inputs
        elif each.kind in _CHANNELS_LAST or _is_kept_mean(each):
            return True
    return False


def _is_kept_mean(op: Op) -> bool:
    return op.kind == "mean" and predicates.is_mean_of_map(op) and bool(op.arguments["keepdim"])


@rules.op(
    "softmax",
    name="portable-softmax",
    severity="warning",
    reason=_PORTABLE,
    fix="leave it to the host, or take it over the last dimension of a flattened map",
)
def portable_softmax(op: Op) -> str | None:
    dim, last = op.arguments["dim"] % len(op.shape), len(op.shape) - 1
    return None if dim == last else f"softmax over dimension {dim}"


@rules.op(
    "pad",
    name="portable-padding",
    severity="warning",
    reason=_PORTABLE,
    fix="pad with a constant",
)
def portable_padding(op: Op) -> str | None:
    mode = op.arguments["mode"]
    return None if mode == "constant" else f"padding mode {mode}"


@rules.op(
    *("elu", "selu", "log_softmax", "erf"),
    *("layer_norm", "group_norm", "instance_norm"),
    *("chunk", "split", "index", "repeat", "expand", "where", "argmax", "flip"),
    "scaled_dot_product_attention",
    name="portable-operator",
    severity="warning",
    reason=_PORTABLE,
    fix="use convolutions with BatchNorm2d, SiLU, GELU, Hardswish or the ReLUs, slices and cat",
)
def portable_operator(op: Op) -> str | None:
    return op.kind.replace("_", " ")


@rules.op(
    *("log_sigmoid", "mish", "softplus"),
    name="int8-stop",
    severity="warning",
    reason="XNNPACK does not take it, and in int8 ExecuTorch's runtime stops there",
    fix="use SiLU, Hardswish or ReLU",
)
def int8_stop(op: Op) -> str | None:
    return op.kind


@rules.op(
    "conv_transpose1d",
    name="int8-grouped-rows",
    severity="warning",
    reason="in int8 XNNPACK refuses it",
    fix="use groups=1, or the same over a map of one row (nn.ConvTranspose2d)",
)
def int8_grouped_rows(op: Op) -> str | None:
    groups = op.arguments["groups"]
    return None if groups == 1 else f"a transposed 1-D convolution of {groups} groups"


@rules.op(
    "pad",
    name="int8-padding",
    severity="warning",
    reason="in int8, in front of anything but a convolution, a sum or a product, ExecuTorch's "
    "runtime stops there",
    fix="let the layer pad: nn.MaxPool2d(2, 2, 1)",
)
def int8_padding(op: Op) -> str | None:
    known = ("conv2d", "add", "mul")
    fits = op.users and not op.is_output and all(user.kind in known for user in op.users)
    return None if fits else "padding in front of another layer"
