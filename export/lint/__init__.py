"""The linter: what a target cannot do, said before its converter says it, or fails to."""

from ..graph.network import LintError, Network, Op, capture_network
from .examples import Example
from .rule import Finding, Match, Rule, Severity, check, op_rule
from .rule_set import RuleSet

__all__ = [
    "Example",
    "Finding",
    "LintError",
    "Match",
    "Network",
    "Op",
    "Rule",
    "RuleSet",
    "Severity",
    "capture_network",
    "check",
    "op_rule",
]
