"""The verdict on an export: whether it reaches its limits, and whether that can be said at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..targets.base import Evidence, Limits
from .compare import Parity, failed_checks
from .schema import Metric, SourceResult, Status

CONSTANT_DB = -60.0  # answers vary by a thousandth of their size: the network answers its bias
WEAK_DB = -20.0  # by a tenth: int8's own rounding may be larger than what is to be seen
INT8_DB = 10.0  # of int8 where no metric judges it
HALF_MARGIN_DB = 6.0  # float16 may lose twice what PyTorch's own half() loses
_ROUNDING_DB = 90.0  # of float32, where answers are large


@dataclass(frozen=True)
class Judged:
    """One set of answers: what it must reach, and what it reached."""

    limits: Limits
    parity: Parity
    metric: Metric | None


def judge(
    each: Sequence[Judged],
    *,
    precision: str,
    half_db: float | None,
    foreign: bool,
    drop_factor: float,
) -> tuple[Status, list[str]]:
    """The status of a row, and why.

    Args:
        each: of the artifact, and of files that were handed over.
        precision: of the export.
        half_db: what ``half()`` of the same network reaches in PyTorch, where that was measured.
        foreign: the images stand in for those of the network's data set.
        drop_factor: the task's.
    """
    missed: list[str] = []
    for one in each:
        limits = _without_metric(one) if one.metric is None else one.limits
        if half_db is not None and limits.sqnr_db is not None and precision == "float16":
            limits = replace(limits, sqnr_db=min(limits.sqnr_db, half_db - HALF_MARGIN_DB))
        missed += failed_checks(
            limits, one.parity, one.metric, foreign=foreign, drop_factor=drop_factor
        )
    variation = min((one.parity.variation_db for one in each), default=0.0)
    unlabelled = all(one.metric is None for one in each)
    if variation < CONSTANT_DB:
        return "inconclusive", [*missed, _constant(variation)]
    if missed and unlabelled and variation < WEAK_DB:
        return "inconclusive", [*missed, _constant(variation)]
    return ("failed" if missed else "ok"), missed


def _without_metric(one: Judged) -> Limits:
    """Numbers alone judge: int8 by its signal; float32 of large answers by its rounding."""
    limits = one.limits
    if limits.max_abs_error is None and limits.sqnr_db is None:
        return Limits(sqnr_db=INT8_DB)
    if limits.max_abs_error is not None and one.parity.sqnr_db > _ROUNDING_DB:
        return Limits()
    return limits


def _constant(variation_db: float) -> str:
    share = 100 * 10 ** (variation_db / 20)
    return (
        f"the network's own answers vary by only {share:.2g} % of their size from sample to "
        "sample, as untrained ones do: load trained weights, or give --images that it tells apart"
    )


def describe_unrun(target: str, evidence: Evidence, sources: Sequence[SourceResult]) -> str:
    """What a row of a target is worth that has no figures of its own."""
    files = " and ".join(source.file for source in sources)
    worst = max(source.max_abs_error for source in sources)
    return (
        f"{evidence.value}: no runtime or simulator of {target} has run it; "
        f"on a CPU {files} {'is' if len(sources) == 1 else 'are'} within {worst:.1e} of PyTorch"
    )
