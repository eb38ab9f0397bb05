"""The rules of one backend: a rule is registered where it is defined, and cannot be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypedDict

from typing_extensions import NotRequired, Unpack

from ..graph.network import Network
from .rule import Match, Predicate, Rule, Severity, op_rule


class OpFacts(TypedDict):
    """What a rule about one operator states; see :class:`~.rule.Rule`."""

    name: str
    reason: str
    fix: str
    severity: NotRequired[Severity]
    chips: NotRequired[tuple[str, ...]]
    error_on: NotRequired[tuple[str, ...]]
    precisions: NotRequired[tuple[str, ...]]


class RuleSet:
    """Rules in the order in which they are defined.

    For example::

        rules = RuleSet(examples=f"{__package__}.examples")

        @rules.op("conv2d", name="dilation", reason="the KPU has no dilated kernels", fix="...")
        def dilation(op: Op) -> str | None:
            return f"dilation {op.pair('dilation')}" if op.pair("dilation") != (1, 1) else None

    Args:
        examples: the module whose ``EXAMPLES`` hold examples of every rule. It is imported when
            examples are read, so that checking a network makes none of them.
    """

    def __init__(self, examples: str) -> None:
        self._examples = examples
        self._rules: list[Rule] = []

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def op(self, *kinds: str, **facts: Unpack[OpFacts]) -> Callable[[Predicate], Rule]:
        """Register a function that looks at one operator of ``kinds``, as :func:`op_rule` does."""
        return lambda predicate: self.add(op_rule(*kinds, **facts)(predicate))

    def network(
        self,
        *,
        name: str,
        reason: str,
        fix: str,
        severity: Severity = "error",
        chips: tuple[str, ...] = (),
    ) -> Callable[[Callable[[Network], Iterable[Match]]], Rule]:
        """Register a function that looks at the whole network."""
        return lambda match: self.add(Rule(name, severity, reason, fix, match, chips=chips))

    def add(self, rule: Rule) -> Rule:
        """Register a rule that another module made; its examples are its own set's, if any."""
        if not rule.examples_module:
            rule = replace(rule, examples_module=self._examples)
        self._rules.append(rule)
        return rule

    def include(self, rules: Iterable[Rule]) -> None:
        """Register all rules of another set."""
        for rule in rules:
            self.add(rule)

    def of(self, chip: str = "") -> tuple[Rule, ...]:
        """The rules of one chip, each as severe as it is there."""
        return tuple(
            replace(rule, severity="error") if chip in rule.error_on else rule
            for rule in self._rules
            if not rule.chips or chip in rule.chips
        )
