"""What litert-torch refuses, or LiteRT gets wrong: rules for ``edgeark check``.

Each was seen with litert-torch 0.10 and LiteRT 2.3, and ``tests/export/lint/test_rule_examples.py``
sees it again. What its worker fixes has no rule: nearest resizing by other than whole factors,
repetitions, views.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common, predicates
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")


@rules.op(
    "_upsample_bilinear2d_aa",
    name="unknown-operator",
    reason="litert-torch does not know it",
    fix="resize without antialias",
)
def unknown(op: Op) -> str | None:
    return op.kind


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
