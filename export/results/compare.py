"""Compare a target's answers with PyTorch's: in numbers, and in the task's metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import EdgearkError
from ...training.data import ImageSet
from ...zoo.spec import ModelSpec
from ..targets.base import Limits
from ..tasks import get_task, reading_outputs
from .schema import Figure, Metric

SQNR_CAP_DB = 200.0  # two equal answers: JSON has no infinity
FOREIGN_DATA_DROP = 0.01
_PLAIN_PEAK = 5.0  # answers beyond it may differ by more


@dataclass(frozen=True)
class Parity:
    """The worst output's difference from PyTorch's.

    ``sqnr_db`` is the signal-to-error ratio of the part of the output that depends on the input:
    the mean over the images is removed from the signal, since a network that answers its bias
    to everything would else look perfect. ``peak`` is the largest magnitude in PyTorch's answers.
    ``variation_db`` is the power of that part beside all of the answers'; a single sample has 0.
    """

    max_abs_error: float
    sqnr_db: float
    peak: float = 0.0
    variation_db: float = 0.0


def compare(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Parity:
    """Parity of all outputs; a shape that differs, or a value that is no number, is an error.

    Raises:
        EdgearkError: the outputs cannot be compared.
    """
    if len(reference) != len(outputs):
        raise EdgearkError(f"the target gave {len(outputs)} outputs, PyTorch {len(reference)}")
    errors, ratios, peaks, variations = [], [], [], []
    for index, (wanted, got) in enumerate(zip(reference, outputs, strict=True)):
        if wanted.shape != got.shape:
            raise EdgearkError(f"output {index} is {got.shape}, PyTorch's is {wanted.shape}")
        for whose, values in (("PyTorch's", wanted), ("the target's", got)):
            if not np.isfinite(values).all():
                raise EdgearkError(f"{whose} output {index} holds infinite or undefined values")
        signal, error = wanted.astype(np.float64), got.astype(np.float64) - wanted
        errors.append(float(np.abs(error).max()))
        peaks.append(float(np.abs(signal).max()))
        varying = signal - signal.mean(axis=0) if len(signal) > 1 else signal
        ratios.append(sqnr_db(varying, error))
        variations.append(-sqnr_db(signal, varying) if signal.any() else -SQNR_CAP_DB)
    return Parity(max(errors), min(ratios), max(peaks), min(variations))


def sqnr_db(signal: np.ndarray, error: np.ndarray) -> float:
    """Power of ``signal`` over power of ``error`` in decibels, within +-200."""
    return ratio_db(float(np.square(signal).mean()), float(np.square(error).mean()))


def ratio_db(power: float, noise: float) -> float:
    """``power`` over ``noise`` in decibels, within +-200."""
    if noise == 0:
        return SQNR_CAP_DB
    if power == 0:
        return -SQNR_CAP_DB
    return float(np.clip(10 * np.log10(power / noise), -SQNR_CAP_DB, SQNR_CAP_DB))


def score(
    spec: ModelSpec, wanted: Mapping[str, float], got: Mapping[str, float], test: ImageSet
) -> Metric | None:
    """The metric of the model's task: PyTorch's :func:`task_figures` beside the target's.

    None where the task measures nothing.
    """
    if not wanted:
        return None
    name, *others = wanted
    return Metric(
        name=name,
        float=wanted[name],
        value=got[name],
        n=get_task(spec.task).count_scored(test),
        dataset=test.name,
        details={key: Figure(float=wanted[key], value=got[key]) for key in others},
    )


def task_figures(
    spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
) -> dict[str, float]:
    """What a task measures, in 0..1 and by name; the first figure is the one that limits are for.

    See :meth:`Task.figures`.

    Raises:
        EdgearkError: an unknown task, no image that is marked, or outputs of another task.
    """
    task = get_task(spec.task)
    if not task.count_scored(test):
        raise EdgearkError(f"nothing is marked in {len(test)} images of {test.name}: no metric")
    with reading_outputs(spec):
        return task.figures(spec, outputs, test)


def failed_checks(
    limits: Limits,
    parity: Parity,
    metric: Metric | None,
    *,
    foreign: bool = False,
    drop_factor: float = 1.0,
) -> list[str]:
    """What an export misses, in words; empty when it passes.

    On ``foreign`` images, of another data set than the network was trained on, many answers lie
    near the edge between two classes, and the least error tips some: a drop of a point is allowed.
    ``drop_factor`` is the task's :attr:`Task.metric_drop_factor`.
    """
    missed = []
    if limits.max_abs_error is not None:
        allowed = limits.max_abs_error * max(1.0, parity.peak / _PLAIN_PEAK)
        if parity.max_abs_error > allowed:
            missed.append(f"max abs error {parity.max_abs_error:.2e} > {allowed:.1e}")
    if limits.sqnr_db is not None and parity.sqnr_db < limits.sqnr_db:
        missed.append(f"SQNR {parity.sqnr_db:.1f} dB < {limits.sqnr_db:.0f} dB")
    if limits.metric_drop is not None and metric is not None:
        allowed = limits.metric_drop * drop_factor
        allowed = max(allowed, FOREIGN_DATA_DROP) if foreign else allowed
        drop = metric.float - metric.value
        if drop > allowed + 1e-9:
            missed.append(
                f"{metric.name} {100 * drop:.2f} points below PyTorch "
                f"(allowed: {100 * allowed:.2f})"
            )
    return missed
