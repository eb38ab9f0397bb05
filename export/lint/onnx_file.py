"""What PyTorch's exporters write wrongly into an ONNX file, whatever reads it then."""

from __future__ import annotations

from . import sights
from .rule import Rule, op_rule

divisor_override = op_rule(
    "avg_pool2d",
    name="divisor-override",
    reason="PyTorch's ONNX exporter leaves the divisor out: the values are wrong",
    fix="use the pool's own divisor and multiply behind it",
)(sights.divisor_override)

RULES: tuple[Rule, ...] = (divisor_override,)
