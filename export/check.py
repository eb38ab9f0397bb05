"""What targets cannot do of a network: the findings of ``edgeark check``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..zoo.registry import create_model
from ..zoo.spec import spec_of
from .graph.network import LintError, Network, capture_network
from .lint.rule import Finding, check
from .sources import Source
from .targets.base import Target

_TRACE_RULE, INPUTS_RULE = "static-graph", "inputs"


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
    return findings + (_check(source.model, source.spec.input_shapes, able) if able else [])


def _check(
    model: nn.Module, shapes: Sequence[Sequence[int]], targets: Sequence[Target]
) -> list[Finding]:
    try:
        network = capture_network(model, *shapes)
    except LintError as error:
        fix = "let shapes and branches depend on nothing that is computed from the image"
        return [
            Finding(t.full_name, _TRACE_RULE, "error", "", error.source, str(error), fix)
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
