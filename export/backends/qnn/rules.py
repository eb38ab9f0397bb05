"""What the HTP's compiler refuses or computes wrongly: rules for ``edgeark check``.

Each was seen with onnxruntime-qnn 2.7.0 on v73, and ``test_qnn_rules.py`` sees it again. No
operator is left to the CPU, so that what the HTP cannot do is an error. What :func:`.target.mend`
writes in another way has no rule: averages, grouped transposed convolutions.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common, onnx_file, predicates
from ...lint.nearest import by_size_quotient, nearest_rounding
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_LACKS = "the HTP has no such operator, and nothing is left to the CPU"
_INT8 = ("int8",)


@rules.op(
    *("acosh", "asinh", "atanh", "celu", "cosh", "erf", "fmod", "prod", "sinh"),
    name="missing-operator",
    reason=_LACKS,
    fix="use ReLU, LeakyReLU, ELU, SiLU, GELU, sigmoid or tanh, and sums, means and maxima",
)
def missing_operator(op: Op) -> str | None:
    return op.kind


rules.add(common.circular_padding(_LACKS))
rules.add(common.dilated_pool(_LACKS))
rules.add(common.antialias("_upsample_bilinear2d_aa", reason=_LACKS))
rules.add(nearest_rounding("the HTP", by_size_quotient))


@rules.op(
    "max_pool2d_with_indices",
    name="pool-indices",
    reason=_LACKS,
    fix="use the maxima alone; upsample by other means than nn.MaxUnpool2d",
)
def pool_indices(op: Op) -> str | None:
    return "the indices of a max pool"


@rules.op(
    *("conv_transpose1d", "conv_transpose2d"),
    name="transposed-dilation",
    reason="the provider takes no dilation but 1 there",
    fix="use a larger kernel, or resize and convolve",
)
def transposed_dilation(op: Op) -> str | None:
    given = op.arguments.get("dilation", 1)
    sides = given if isinstance(given, (list, tuple)) else [given]
    return f"a transposed convolution with dilation {given}" if any(d != 1 for d in sides) else None


@rules.op(
    "layer_norm",
    name="norm-of-several-axes",
    reason="the HTP normalises along the last axis alone",
    fix="use nn.GroupNorm(1, channels) on maps, or normalise the last axis",
)
def norm_of_several_axes(op: Op) -> str | None:
    shape = op.arguments["normalized_shape"]
    return f"a layer norm of {len(shape)} axes" if len(shape) > 1 else None


@rules.op(
    "grid_sampler",
    name="grid-sample-mode",
    reason=_LACKS,
    fix="sample bilinearly, or the nearest",
)
def grid_sample_mode(op: Op) -> str | None:
    return predicates.bicubic_sample(op)


@rules.op(
    *("max_pool3d", "conv_transpose3d"),
    name="volume",
    reason="the compiler knows it of maps alone",
    fix="pool or upsample the maps of each slice",
)
def volume(op: Op) -> str | None:
    """Transposed convolutions without padding of the width are compiled, and right."""
    if op.kind == "max_pool3d":
        return "a max pool of volumes"
    *_, width = predicates.expand_to_ntuple(op.arguments["padding"], 3)
    return "a padded transposed convolution of volumes" if width else None


@rules.op(
    *("cos", "elu", "linalg_vector_norm", "log", "log_sigmoid", "log_softmax", "neg"),
    *("rsqrt", "softplus", "sort", "sqrt", "tanh", "topk"),
    name="five-axes",
    reason="the HTP computes it of four axes at most",
    fix="fold the batch or an axis of size 1 away: x.flatten(1, 2), and unflatten behind it",
)
def five_axes(op: Op) -> str | None:
    count = len(op.input_shapes[0])
    return f"{op.kind} of {count} axes" if count > 4 else None


@rules.op(
    *("stack", "unsqueeze"),
    name="six-axes",
    reason="the HTP has five axes at most",
    fix="concatenate, or reorder in two steps",
)
def six_axes(op: Op) -> str | None:
    return f"a tensor of {len(op.shape)} axes" if len(op.shape) > 5 else None


@rules.op(
    *("im2col", "logsumexp"),
    name="int8-refused",
    reason="the HTP has it in float16 alone",
    fix="export float16, or use convolutions and maxima",
    precisions=_INT8,
)
def int8_refused(op: Op) -> str | None:
    return "unfold" if op.kind == "im2col" else op.kind


@rules.op(
    "cumsum",
    name="int8-cumulative-sum",
    reason="in int8 the values are wrong; float16 is right",
    fix="multiply by a triangle of ones, or export float16",
    precisions=_INT8,
)
def int8_cumulative_sum(op: Op) -> str | None:
    return "a cumulative sum"


@rules.op(
    "prelu",
    name="int8-slopes",
    reason="in int8 the values are wrong; of maps they are right, and in float16",
    fix="use nn.LeakyReLU, or keep four axes there",
    precisions=_INT8,
)
def int8_slopes(op: Op) -> str | None:
    count = len(op.shape)
    has_many = (op.shape_of("weight") or (1,))[0] > 1
    return f"PReLU of {count} axes" if count != 4 and has_many else None
