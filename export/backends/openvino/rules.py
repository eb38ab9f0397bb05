"""What OpenVINO refuses or gets wrong: rules for ``edgeark check``.

Each was seen with OpenVINO 2026.4, and ``tests/export/lint/test_rule_examples.py`` sees it again.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common, onnx_file, predicates
from ...lint.nearest import by_quotient, nearest_rounding
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_NOT_MONOTONE = ("gelu", "hardswish", "mish", "silu")

rules.add(common.circular_padding("OpenVINO refuses it"))


rules.add(
    common.antialias(
        *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        reason="OpenVINO drops the filter without a word: the values are wrong",
    )
)


def _padded_average(op: Op) -> str | None:
    is_padded = any(predicates.expand_to_ntuple(op.arguments["padding"], len(op.shape) - 2))
    return predicates.ceiled_average(op) if is_padded else None


rules.add(
    common.average_ceil_mode(
        "OpenVINO divides the last windows by another number: the values are wrong",
        predicate=_padded_average,
    )
)


@rules.op(
    "max_pool2d",
    name="pool-across-activation",
    reason="OpenVINO 2026.4 gives other values without a word where a max pool comes before the "
    "activation as well",
    fix="put a convolution between the pools, or use ReLU",
)
def pool_across_activation(op: Op) -> str | None:
    (activation,) = op.inputs
    if activation is None or activation.kind not in _NOT_MONOTONE:
        return None
    (before,) = activation.inputs
    is_pool = before is not None and before.kind == "max_pool2d"
    return f"{activation.kind} between two max pools" if is_pool else None


rules.add(nearest_rounding("OpenVINO", by_quotient))
