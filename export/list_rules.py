"""What every target's rules say, for people who look them up: as data, and as pages of docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .lint.example_source import source_text
from .lint.rule import Rule, Severity
from .targets.base import Target

_COMMAND = "edgeark check --list-rules --out docs/rules"


@dataclass(frozen=True)
class ListedExample:
    """Source text of a layer on which a rule fires, and of one on which it does not."""

    bad: str
    good: str
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class ListedRule:
    """One rule, with all targets that have it in these words."""

    targets: tuple[str, ...]
    name: str
    severity: Severity
    reason: str
    fix: str
    operators: tuple[str, ...]
    examples: tuple[ListedExample, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def list_rules(targets: Sequence[Target]) -> list[ListedRule]:
    """The rules of each family, in their order; chips that have the same rule share an entry."""
    found: dict[tuple[str, str, Severity, str, str], list[tuple[Target, Rule]]] = {}
    for target in targets:
        for rule in target.rules():
            key = (target.name, rule.name, rule.severity, rule.reason, rule.fix)
            found.setdefault(key, []).append((target, rule))
    listed = []
    for (_, name, severity, reason, fix), pairs in found.items():
        names = dict.fromkeys(target.full_name for target, _ in pairs)
        chips = {target.chip for target, _ in pairs}
        examples = [
            ListedExample(*source_text(example), example.input_shape("bad"))
            for example in pairs[0][1].examples
            if not example.chips or chips & {*example.chips}
        ]
        operators = tuple(sorted(pairs[0][1].operators))  # some come from a set
        listed.append(ListedRule((*names,), name, severity, reason, fix, operators, (*examples,)))
    return listed


def write_pages(rules: Iterable[ListedRule], folder: Path) -> list[Path]:
    """A page for each family, ``<family>.md`` in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    families: dict[str, list[ListedRule]] = {}
    for rule in rules:
        families.setdefault(rule.targets[0].partition(":")[0], []).append(rule)
    written = []
    for family, members in families.items():
        path = folder / f"{family}.md"
        path.write_text(page_of(family, members), encoding="utf-8")
        written.append(path)
    return written


def page_of(family: str, rules: Sequence[ListedRule]) -> str:
    """The page of a family, in Markdown."""
    every = {target for rule in rules for target in rule.targets}
    head = (
        f"# Rules of `{family}`\n\n"
        f"Written by `{_COMMAND}`. `edgeark check NETWORK --to {min(every)}` applies these rules. "
        "An error cannot be exported, or gives wrong values; a warning costs time or accuracy. "
        "Examples are layers that read a map of 8 channels or so, with "
        "`from torch import Tensor, nn` and `from torch.nn import functional as f`.\n"
    )
    return "\n".join([head, *(_section(rule, every) for rule in rules)])


def _section(rule: ListedRule, every: set[str]) -> str:
    chips = [target.partition(":")[2] for target in rule.targets]
    where = "" if {*rule.targets} == every else f" On {', '.join(chips)}."
    lines = [
        f"## {rule.name} ({rule.severity})\n",
        f"{_sentence(rule.reason)}{where}\n",
        f"Instead: {rule.fix}.\n",
    ]
    if rule.operators:
        lines.append(f"Operators: {', '.join(f'`{name}`' for name in rule.operators)}.\n")
    for example in rule.examples[:1]:
        lines.append(f"```python\n# fires\n{example.bad}\n\n# does not\n{example.good}\n```\n")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
