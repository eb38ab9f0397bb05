"""What PyTorch's exporters write wrongly into an ONNX file, whatever reads it then."""

from __future__ import annotations

from . import common
from .rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.shared_examples")
rules.add(
    common.divisor_override("PyTorch's ONNX exporter leaves the divisor out: the values are wrong")
)
