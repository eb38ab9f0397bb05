"""A user's own network, rewritten for its targets and proven equal.

The rules of ``edgeark check`` say where; the rewrites of :func:`.rule.rewrites` know the same
function in other operators. A rewrite is kept only where the rules then find less, so that none
leads to another finding, and the whole network has to answer as it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...zoo.modes import evaluating
from ..graph.network import LintError, Network, Op, export_program
from ..lint.rule import Finding, Match, Rule, check
from ..targets.base import Target
from .draft import Draft, RewriteError, begin
from .rule import RewriteRule, rewrites

_IMAGES = 3
_TOLERANCE = 1e-4  # of the largest answer, or of 1
_FLIPPED = 1e-3  # the share of whole numbers that rounding in front of them may turn


@dataclass(frozen=True)
class Change:
    """One operator that is now others. ``rule``: what fired; ``source`` is ``file:line``."""

    rule: str
    module: str
    source: str
    done: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Rewritten:
    """A rewritten network.

    Args:
        model: takes and gives what the original does; parameters and buffers have their names.
        changes: in the order in which they were made.
        left: what the rules still find, with what to do about it.
        max_abs_error: against the original, on random images.
    """

    model: fx.GraphModule
    changes: tuple[Change, ...]
    left: tuple[Finding, ...]
    max_abs_error: float


def rewrite(
    model: nn.Module,
    input_shape: Sequence[int],
    targets: Sequence[Target],
    original: nn.Module | None = None,
) -> Rewritten:
    """RewriteRule what the targets' rules find wherever there is an exact rule.

    Args:
        model: looked at in evaluation mode; it stays as it is, and shares its parameters.
        input_shape: ``[1, C, H, W]``.
        targets: whose rules to follow.
        original: the network that the model was made of; the result has to answer as it does.

    Raises:
        RewriteError: there is no static graph, or the rewritten network answers otherwise.
    """
    try:
        prefix = getattr(model, "wrapper_prefix", "")
        draft = begin(export_program(model, input_shape), prefix)
    except LintError as error:
        where = f"{error.source}: " if error.source else ""
        raise RewriteError(f"{where}{error}; {error.fix}") from error
    draft, changes = _mend(draft, [rule for target in targets for rule in target.rules()])
    rewritten, network = draft.module(), draft.network()
    left = [one for t in targets for one in check(network, t.rules(), t.full_name)]
    error = largest_error(model if original is None else original, rewritten, input_shape)
    return Rewritten(rewritten, tuple(changes), tuple(left), error)


def can_help(rule: str) -> bool:
    """Whether any rewrite serves that rule's findings."""
    return any(rule in rewriting.serves for rewriting in rewrites())


def _mend(draft: Draft, rules: Sequence[Rule]) -> tuple[Draft, list[Change]]:
    """Until no rule makes the rules find less."""
    changes: list[Change] = []
    unfixable: set[_Key] = set()
    while (step := _next(draft, rules, unfixable)) is not None:
        draft, change = step
        changes.append(change)
    return draft, changes


_Key = tuple[str, str, str, str]


def _next(draft: Draft, rules: Sequence[Rule], unfixable: set[_Key]) -> tuple[Draft, Change] | None:
    """The first rule that helps; what cannot be rewritten becomes ``unfixable``."""
    network = draft.network()
    matches = _look(network, rules)
    before = _weight(matches)
    for rule, match in matches:
        op = match.op
        if op is None or (key := _key(rule, op)) in unfixable:
            continue
        for culprit, rewriting in _candidates(op, rule):
            if rule.severity == "warning" and not rewriting.suits_warnings:
                continue
            following = _following(culprit) if rewriting.with_following else None
            is_pair = bool(rewriting.behind)
            other = draft.replace(
                culprit, rewriting.function, with_before=is_pair, following=following
            )
            if other is not None and _weight(_look(other.network(), rules)) < before:
                return other, Change(rule.name, op.module, op.source, _done(culprit, rewriting))
        unfixable.add(key)
    return None


def _look(network: Network, rules: Sequence[Rule]) -> list[tuple[Rule, Match]]:
    return [(rule, match) for rule in rules for match in rule.match(network)]


def _weight(matches: Sequence[tuple[Rule, Match]]) -> tuple[int, int]:
    """Errors before warnings: one of these may take the place of one of those."""
    count = Counter(rule.severity for rule, _ in matches)
    return count["error"], count["warning"]


def _candidates(op: Op, rule: Rule) -> Iterator[tuple[Op, RewriteRule]]:
    """Mends of the operator and of those beside it: some rules are about two of them."""
    for rewriting in rewrites():
        if rule.name not in rewriting.serves:
            continue
        beside: tuple[Op | None, ...] = op.inputs if rewriting.suits_readers else ()
        if op.kind in rewriting.behind:
            beside = op.users
        for culprit in (op, *beside):
            if culprit is not None and _suits(culprit, rewriting):
                yield culprit, rewriting


def _suits(op: Op, rewriting: RewriteRule) -> bool:
    if _operator(op) not in rewriting.operators:
        return False
    if not rewriting.behind:
        return True
    before = op.before
    if before is None or before.node is not op.node.args[0]:
        return False
    return before.kind in rewriting.behind


def _following(op: Op) -> list[Op]:
    """What reads an operator's result, each the only reader of one tensor alone."""
    found: list[Op] = []
    while len(op.node.users) == 1 and len(op.users) == 1:
        (reader,) = op.users
        if len(reader.inputs) > 1 or reader.node.args[0] is not op.node:
            break
        found.append(reader)
        op = reader
    return found


def _operator(op: Op) -> str:
    """With its overload, where that is not the default: ``mean.dim``."""
    return str(op.node.target).removeprefix("aten.").removesuffix(".default")


def _key(rule: Rule, op: Op) -> _Key:
    """What is the same in the next draft, where nodes are others."""
    return rule.name, op.module, op.source, f"{op.kind} {op.input_shapes} {op.shape}"


def _done(culprit: Op, rule: RewriteRule) -> str:
    return f"{culprit.kind.strip('_')} is now {rule.done}"


def largest_error(model: nn.Module, rewritten: nn.Module, *input_shapes: Sequence[int]) -> float:
    """The largest absolute error on random inputs.

    Raises:
        RewriteError: it is more than float's rounding.
    """
    place = next((p.device for p in model.parameters()), None)
    dice = torch.Generator().manual_seed(0)
    worst = 0.0
    for scale in (1.0,) * (_IMAGES - 1) + (8.0,):
        inputs = [(torch.randn(*shape, generator=dice) * scale).to(place) for shape in input_shapes]
        with torch.no_grad(), evaluating(model):
            wanted, got = (
                pytree.tree_leaves(one(*(x.clone() for x in inputs))) for one in (model, rewritten)
            )
        for a, b in zip(wanted, got, strict=True):
            error, limit = _distance(a, b)
            if not error <= limit:
                raise RewriteError(
                    f"the rewritten network is off by {error:.2g}, where {limit:.2g} is rounding: "
                    "a fault of edgeark's, please report it with this network"
                )
            worst = max(worst, error if a.is_floating_point() else 0.0)
    return worst


def _distance(wanted: Tensor, got: Tensor) -> tuple[float, float]:
    """The error, and what is allowed: of whole numbers and conditions, a share that differs."""
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return float("inf"), 0.0
    same = (wanted == got) | (wanted.isnan() & got.isnan())
    if not wanted.is_floating_point():
        return 1 - same.float().mean().item(), _FLIPPED
    error = torch.where(same, 0.0, (wanted - got).abs()).max().item()
    peak = wanted.nan_to_num(0, 0, 0).abs().max().item()
    return error, _TOLERANCE * max(1.0, peak)
