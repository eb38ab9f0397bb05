"""What the toolkit computes wrongly on the route by TorchScript, where edgeark rewrites nothing."""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common, predicates
from ...lint.rule_set import RuleSet
from .chips import CPU, MINI_CHIPS
from .rules import global_max_pool, misread_pool, rules

torch_rules = RuleSet(examples=f"{__package__}.examples_torch")
"""Of the route by TorchScript, on which no max pool is split."""
_MENDED = ("global-max-pool", "uneven-maximum")  # in part, on the other route
torch_rules.include(rule for rule in rules if rule.name not in _MENDED)
torch_rules.add(global_max_pool(misread_pool))


def _ceiled_average(op: Op) -> str | None:
    """Of 16, 32 and 48 channels; 3, 8, 17 and 24 are right."""
    return predicates.ceiled_average(op) if op.shape[1] % 16 == 0 else None


torch_rules.add(
    common.average_ceil_mode(
        "the toolkit computes its last row and column wrongly, without a word",
        "export to rknn, by way of ONNX, where edgeark writes it out; or choose kernel, stride and "
        "padding that fit the map",
        _ceiled_average,
    )
)
torch_rules.add(common.uneven_pool("the toolkit dies of it"))


@torch_rules.op(
    "conv_transpose2d",
    name="grouped-transposed",
    reason="the simulator dies of it in int8 (scale_inf.shape error!)",
    fix="export to rknn, by way of ONNX, where edgeark makes it dense; or use groups=1",
    precisions=("int8",),
)
def grouped_transposed(op: Op) -> str | None:
    """All but depthwise ones of one filter a channel."""
    groups, channels = op.arguments["groups"], op.shape[1]
    is_depthwise = groups == op.input_shapes[0][1] == channels
    return f"{groups} groups" if groups > 1 and not is_depthwise else None


torch_rules.op(
    "avg_pool2d",
    name="uncounted-padding",
    reason=CPU,
    fix="export to rknn, by way of ONNX, where edgeark writes it out; or let the padding count",
    severity="warning",
    error_on=MINI_CHIPS,
)(predicates.uncounted_padding)
