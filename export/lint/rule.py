"""Rules: a target's limits, each with its reason and its fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..graph.network import Network, Op

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
    """One limit of a target.

    Args:
        name: in kebab-case, what is wrong: ``dilation``, ``align-corners``.
        severity: an ``error`` cannot be exported, or not correctly; a ``warning`` costs something.
        reason: what the target does with it, in one sentence.
        fix: what to write instead.
        find: where it fires.
    """

    name: str
    severity: Severity
    reason: str
    fix: str
    find: Callable[[Network], Iterable[Match]]


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
    *kinds: str, name: str, reason: str, fix: str, severity: Severity = "error"
) -> Callable[[Predicate], Rule]:
    """Make a rule of a function that looks at one operator of ``kinds`` (none named: of any).

    For example::

        @op_rule("conv2d", name="dilation", reason="the KPU has no dilated kernels", fix="...")
        def dilation(op: Op) -> str | None:
            return f"dilation {op.pair('dilation')}" if op.pair("dilation") != (1, 1) else None
    """

    def decorate(look: Predicate) -> Rule:
        def find(network: Network) -> Iterator[Match]:
            for op in network.of_kind(*kinds) if kinds else network.ops:
                if seen := look(op):
                    yield Match(op, seen)

        return Rule(name, severity, reason, fix, find)

    return decorate


def check(network: Network, rules: Sequence[Rule], target: str) -> list[Finding]:
    """What ``rules`` find, in the order of computation; the whole network's come last."""
    order = {op.node: index for index, op in enumerate(network.ops)}
    found = [(sight, rule) for rule in rules for sight in rule.find(network)]
    found.sort(key=lambda pair: order[pair[0].op.node] if pair[0].op else len(order))
    findings = [
        Finding(
            target=target,
            rule=rule.name,
            severity=rule.severity,
            module=sight.op.module if sight.op else "",
            source=sight.op.source if sight.op else "",
            reason=f"{sight.seen}: {rule.reason}",
            fix=rule.fix,
        )
        for sight, rule in found
    ]
    return list(dict.fromkeys(findings))  # a module that is called twice is one finding
