"""What targets cannot do of a network: the findings of ``edgeark check``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..zoo.registry import create_model
from ..zoo.spec import spec_of
from .graph.network import LintError, Network, capture_network
from .lint.macs import count_macs
from .lint.rule import Finding, check
from .rewrite import RewriteError, can_help
from .sources import Source
from .sources.rewriting import rewrite_source
from .targets.base import Target

INPUTS_RULE = "inputs"


Fit = Literal["fits", "fits after rewrite", "falls back", "does not fit"]


@dataclass(frozen=True)
class Verdict:
    """What ``edgeark check`` says of one target, in one line.

    Args:
        target: its full name.
        fit: as long as no rule finds an error, the network fits; ``falls back``: parts of it run
            on another processor, or by a slower kernel.
        errors: how many places must change.
        fallbacks: how many operators the accelerator leaves.
        mac_share: of the network's multiplications that these make, 0..1.
    """

    target: str
    fit: Fit
    errors: int = 0
    fallbacks: int = 0
    mac_share: float = 0.0

    def describe(self) -> str:
        """``falls back: 3 operators, 0.2 % of the MACs``."""
        notes = []
        if self.errors:
            notes.append(f"{self.errors} error{'s' * (self.errors > 1)}")
        if self.fallbacks:
            many = f"{self.fallbacks} operator{'s' * (self.fallbacks > 1)}"
            verb = " falls back" if self.fallbacks == 1 else " fall back"
            left = "" if self.fit == "falls back" else verb
            notes.append(f"{many}{left}, {100 * self.mac_share:.3g} % of the MACs")
        return f"{self.fit}: {', '.join(notes)}" if notes else self.fit


def judge_source(source: Source, targets: Sequence[Target]) -> tuple[list[Finding], list[Verdict]]:
    """The findings about a network, and a verdict for every target, clean ones included."""
    findings = check_source(source, targets)
    try:
        network = capture_network(source.folded.model, *source.spec.input_shapes)
    except LintError:
        network = None
    return findings, [_judge(source, network, target, findings) for target in targets]


def _judge(
    source: Source, network: Network | None, target: Target, findings: Sequence[Finding]
) -> Verdict:
    errors = [f for f in findings if f.target == target.full_name and f.severity == "error"]
    if network is None:
        return Verdict(target.full_name, "does not fit", len(errors))
    left = {
        match.op
        for rule in target.rules()
        if rule.falls_back
        for match in rule.match(network)
        if match.op is not None
    }
    total = sum(map(count_macs, network.ops))
    share = sum(map(count_macs, left)) / total if total else 0.0
    fit: Fit = "falls back" if left else "fits"
    if errors:
        fit = "fits after rewrite" if _is_mended(source, target, errors) else "does not fit"
    return Verdict(target.full_name, fit, len(errors), len(left), share)


def _is_mended(source: Source, target: Target, errors: Sequence[Finding]) -> bool:
    """Whether ``edgeark rewrite`` leaves no error."""
    if len(source.spec.input_shapes) > 1 or not all(can_help(error.rule) for error in errors):
        return False
    try:
        left = rewrite_source(source, [target], flat=True).left
    except RewriteError:
        return False
    return all(finding.severity != "error" for finding in left)


def check_model(
    model: nn.Module, input_shape: Sequence[int], targets: Sequence[Target]
) -> list[Finding]:
    """The findings of every target's rules; a network without a static graph is a finding too.

    Args:
        model: looked at in evaluation mode; nothing is trained or changed.
        input_shape: ``[1, C, H, W]``.
        targets: in whose name to look.
    """
    return _check(model, [input_shape], targets)


def check_source(source: Source, targets: Sequence[Target]) -> list[Finding]:
    """The findings about a network of any origin; see :func:`check_model`.

    A target that cannot take the network's inputs has that finding and no other.
    """
    refused = {t: t.refuse_inputs(source.spec, t.supported_precisions()[0]) for t in targets}
    fix = "give it one image of 1 or 3 channels, or choose a target that takes tensors"
    findings = [
        Finding(target.full_name, INPUTS_RULE, "error", "", "", reason, fix)
        for target, reason in refused.items()
        if reason
    ]
    able = [target for target, reason in refused.items() if not reason]
    return findings + (_check(source.folded.model, source.spec.input_shapes, able) if able else [])


def _check(
    model: nn.Module, shapes: Sequence[Sequence[int]], targets: Sequence[Target]
) -> list[Finding]:
    try:
        network = capture_network(model, *shapes)
    except LintError as error:
        return [
            Finding(t.full_name, error.rule, "error", "", error.source, str(error), error.fix)
            for t in targets
        ]
    return [finding for t in targets for finding in check(network, t.rules(), t.full_name)]


def fits(model: nn.Module, *input_shapes: Sequence[int]) -> Callable[[Target], bool]:
    """Whether a target can take the network: its rules find no error there.

    The network is captured once, when the first target is asked about.
    """

    @functools.cache
    def network() -> Network:
        return capture_network(model, *input_shapes)

    def fits_target(target: Target) -> bool:
        try:
            findings = check(network(), target.rules(), target.full_name)
        except LintError:
            return False
        return all(finding.severity != "error" for finding in findings)

    return fits_target


def fits_zoo_model(name: str) -> Callable[[Target], bool]:
    """:func:`fits` of a model of the zoo; shapes alone decide, so no weights are made."""
    with torch.device("meta"):
        model = create_model(name)
    return fits(model, spec_of(model).input_shape)
