"""The linter: what a target cannot do, said before its converter says it, or fails to."""

from ..graph.network import LintError, Network, Op, capture_network
from .rule import Finding, Match, Rule, Severity, check, op_rule

__all__ = [
    "Finding",
    "LintError",
    "Match",
    "Network",
    "Op",
    "Rule",
    "Severity",
    "capture_network",
    "check",
    "op_rule",
]
