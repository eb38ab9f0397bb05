"""What of a network Sophgo's TPUs cannot do: rules for ``edgeark check`` and before an export."""

from __future__ import annotations

from ...lint import onnx_file
from ...lint.rule_set import RuleSet

cvitek_rules = RuleSet(examples=f"{__package__}.examples")
cvitek_rules.include(onnx_file.rules)
sophgo_rules = RuleSet(examples=f"{__package__}.examples")
sophgo_rules.include(onnx_file.rules)
