"""What ONNX Runtime gets wrong: rules for ``edgeark check``.

Seen with ONNX Runtime's own graph optimisations; ``tests/export/lint/test_rule_examples.py`` sees
it again.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import onnx_file
from ...lint.nearest import by_quotient, nearest_rounding
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_NOT_NEGATIVE = ("hardsigmoid", "relu", "relu6", "sigmoid", "softmax")


@rules.op(
    "max_pool2d",
    name="padded-max-pool",
    reason="ONNX Runtime makes it the pool's own padding, which loses against negative values: "
    "the values are wrong",
    fix="pad in the pool, or put the ReLU before the padding",
)
def padded_max_pool(op: Op) -> str | None:
    """Without ``value=0``, opset 15 names none, and all is well; opset 18 always names it.

    Which of them is written hangs on the rest of the network.
    """
    (padding,) = op.inputs
    if padding is None or padding.kind not in ("pad", "constant_pad_nd"):
        return None
    given = padding.arguments
    is_zero = given.get("mode", "constant") == "constant" and not given["value"]
    source = padding.before
    is_harmless = source is not None and source.kind in _NOT_NEGATIVE
    return "zeros around a max pool" if is_zero and not is_harmless else None


rules.add(nearest_rounding("ONNX Runtime", by_quotient))
