"""What litert-torch refuses, or LiteRT gets wrong: rules for ``edgeark check``.

Each was seen with litert-torch 0.10 and LiteRT 2.3, and ``tests/export/lint/test_rule_examples.py``
sees it again. What its worker fixes has no rule: nearest resizing by other than whole factors,
repetitions, views, pools, and in int8 whatever 256 levels would spoil.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")


@rules.op(
    *("_upsample_bilinear2d_aa", "cummax", "cummin", "cumprod", "logcumsumexp"),
    name="unknown-operator",
    reason="litert-torch does not know it",
    fix="resize without antialias, take cumsum, or end the network before it",
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
