"""What litert-torch refuses, or LiteRT gets wrong: rules for ``edgeark check``.

Each was seen with litert-torch 0.10 and LiteRT 2.3, and ``tests/export/lint/test_rule_examples.py``
sees it again. What its worker fixes has no rule: nearest resizing by other than whole factors,
repetitions, views.
"""

from __future__ import annotations

from ....words import format_shape
from ...graph.network import Op
from ...lint import common, predicates
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")

_REFUSED = "litert-torch refuses it"


@rules.op(
    *("adaptive_max_pool2d", "argsort", "sort", "topk", "_upsample_bilinear2d_aa"),
    name="unknown-operator",
    reason="litert-torch or LiteRT does not know it",
    fix="use amax or nn.MaxPool2d for an adaptive pool, resize without antialias, and sort on the "
    "host",
)
def unknown(op: Op) -> str | None:
    return op.kind


@rules.op(
    "conv_transpose2d",
    name="transposed-padding",
    reason=_REFUSED,
    fix="use kernel 4, stride 2, padding 1, or kernel 2, stride 2; else no padding and no dilation",
)
def transposed_padding(op: Op) -> str | None:
    """LiteRT pads by nothing, or on all sides alike such that a map grows by the stride exactly."""
    paddings, extra = op.pair("padding", 0), op.pair("output_padding", 0)
    sides = zip(op.kernel, op.stride, paddings, extra, op.pair("dilation"), strict=True)
    for kernel, stride, padding, more, dilation in sides:
        fits = padding == 0 or (2 * padding == kernel - stride and more == 0)
        if stride > 1 and not (fits and dilation == 1):
            window, step = format_shape(op.kernel), format_shape(op.stride)
            return f"a transposed convolution {window} with stride {step}"
    return None


fractional = rules.add(
    common.fractional_size(
        "upsample_bilinear2d",
        "upsample_nearest2d",
        reason="LiteRT goes by the ratio of the sizes, PyTorch by the factor: the values are wrong",
    )
)


@rules.op(
    "max_pool2d_with_indices",
    name="pool-indices",
    reason="they come out wrong",
    fix="use the maxima alone; upsample by other means than nn.MaxUnpool2d",
)
def pool_indices(op: Op) -> str | None:
    return "the indices of a max pool"


@rules.op(
    *("elu", "mish", "softplus"),
    name="int8-exponential",
    severity="warning",
    reason="its exponential in int8 leaves nearly nothing of the values; float32 is right",
    fix="use SiLU, Hardswish or ReLU",
)
def int8_exponential(op: Op) -> str | None:
    return op.kind


@rules.op(
    "avg_pool2d",
    name="int8-uncounted-padding",
    severity="warning",
    reason="there is no int8 of it: ai-edge-quantizer fails",
    fix="let the padding count, or pool with stride 1 and a padding of half the kernel",
)
def uncounted_padding(op: Op) -> str | None:
    sides = zip(op.kernel, op.stride, op.pair("padding", 0), strict=True)
    is_same = all(stride == 1 and 2 * padding == kernel - 1 for kernel, stride, padding in sides)
    return None if is_same else predicates.uncounted_padding(op)
