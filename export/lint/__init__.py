"""The linter: what a target cannot do, said before its converter says it, or fails to."""

from ..graph.network import LintError, Network, Op, capture_network
from .rule import Finding, Rule, Severity, Sighting, check, op_rule

__all__ = [
    "Finding",
    "LintError",
    "Network",
    "Op",
    "Rule",
    "Severity",
    "Sighting",
    "capture_network",
    "check",
    "op_rule",
]
