"""Rules: a target's limits, each with its reason, its fix and its examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..graph.network import Network, Op
from .examples import Example, load_examples

_ELSEWHERE = re.compile(r"\bCPU\b|own kernel is slow")
Severity = Literal["error", "warning"]
Predicate = Callable[[Op], str | None]
"""What is seen at an operator, in few words that open the reason; None where all is well."""


@dataclass(frozen=True)
class Match:
    """Where a rule fires. ``seen`` is what is there, in few words; ``op`` None: the whole net."""

    op: Op | None
    seen: str


@dataclass(frozen=True)
class Rule:
    """One limit of a target. A :class:`~.rule_set.RuleSet` makes and holds it.

    Args:
        name: in kebab-case, what is wrong: ``dilation``, ``align-corners``.
        severity: an ``error`` cannot be exported, or not correctly; a ``warning`` costs something.
        reason: what the target does with it, in one sentence.
        fix: what to write instead.
        match: where it fires.
        operators: of ``aten``, that it looks at; none named: any.
        chips: the chips that have this limit; none named: all.
        error_on: the chips on which this warning is an error.
        precisions: in which the target has this limit; none named: all.
        examples_module: the module with the rule's examples; it is imported when they are read.
    """

    name: str
    severity: Severity
    reason: str
    fix: str
    match: Callable[[Network], Iterable[Match]]
    operators: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    error_on: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    examples_module: str = ""

    @property
    def falls_back(self) -> bool:
        """Whether its reason is that another processor, or a slower kernel, takes the operator."""
        return self.severity == "warning" and bool(_ELSEWHERE.search(self.reason))

    def holds_in(self, precision: str) -> bool:
        """Whether the target has this limit in a precision."""
        return not self.precisions or precision in self.precisions

    @property
    def examples(self) -> tuple[Example, ...]:
        """Networks on which the rule fires, each with one on which it does not."""
        if not self.examples_module:
            return ()
        return tuple(e for e in load_examples(self.examples_module) if e.rule == self.name)


@dataclass(frozen=True)
class Finding:
    """One row of ``edgeark check``."""

    target: str
    rule: str
    severity: Severity
    module: str
    source: str
    reason: str
    fix: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """One line: where, why, and the fix."""
        where = self.module or self.source or "the network"
        return f"{where}: {self.reason}; {self.fix} [{self.rule}]"


def op_rule(
    *kinds: str,
    name: str,
    reason: str,
    fix: str,
    severity: Severity = "error",
    chips: tuple[str, ...] = (),
    error_on: tuple[str, ...] = (),
    precisions: tuple[str, ...] = (),
) -> Callable[[Predicate], Rule]:
    """Make a rule of a function that looks at one operator of ``kinds``; none named: of any."""

    def decorate(predicate: Predicate) -> Rule:
        def match(network: Network) -> Iterator[Match]:
            for op in network.of_kind(*kinds) if kinds else network.ops:
                if seen := predicate(op):
                    yield Match(op, seen)

        return Rule(name, severity, reason, fix, match, kinds, chips, error_on, precisions)

    return decorate


def check(network: Network, rules: Sequence[Rule], target: str) -> list[Finding]:
    """What ``rules`` find, in the order of computation; the whole network's come last."""
    order = {op.node: index for index, op in enumerate(network.ops)}
    found = [(match, rule) for rule in rules for match in rule.match(network)]
    found.sort(key=lambda pair: order[pair[0].op.node] if pair[0].op else len(order))
    findings = [
        Finding(
            target=target,
            rule=rule.name,
            severity=rule.severity,
            module=match.op.module if match.op else "",
            source=match.op.source if match.op else "",
            reason=f"{match.seen}: {rule.reason}",
            fix=rule.fix,
        )
        for match, rule in found
    ]
    return list(dict.fromkeys(findings))  # a module that is called twice is one finding
