"""Limits of the KPU, for both compilers that serve it: each says what comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...kpu.compiler.advice import ADVICE
from ...lint.rule import Predicate, Rule, Severity, op_rule
from . import predicates as kpu

_MAPS = ("conv2d", "max_pool2d", "avg_pool2d")
_LIMITS: dict[str, tuple[tuple[str, ...], Predicate]] = {
    "kernel": (("conv2d",), kpu.other_kernel),
    "groups": (("conv2d",), kpu.grouped),
    "dilation": (("conv2d",), kpu.dilated),
    "stride": (("conv2d",), kpu.other_stride),
    "odd-map": (("conv2d",), kpu.odd_halving),
    "padding": (("conv2d",), kpu.other_padding),
    "channels": (("conv2d",), kpu.many_channels),
    "small-map": (_MAPS, kpu.small_map),
    "large-map": (("conv2d",), kpu.large_map),
    "large-linear": (("conv2d", "linear"), kpu.many_features),
    "depthwise-stride": (("conv2d",), kpu.lonely_depthwise_stride),
    "normalization-inside": ((*sorted(kpu.ARITHMETIC), "batch_norm"), kpu.channel_constants),
}


def kpu_limits(reasons: Mapping[str, str], severity: Severity = "error") -> Iterator[Rule]:
    """A rule about each limit.

    Args:
        reasons: what the compiler makes of it, by the limit's name.
        severity: of all of them.
    """
    for name, reason in reasons.items():
        kinds, predicate = _LIMITS[name]
        made = op_rule(*kinds, name=name, reason=reason, fix=ADVICE[name], severity=severity)
        yield made(predicate)
