"""What an int8 export rests on: choices that its target knows, and the images behind its ranges."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import EdgearkError
from ..training.data import ImageSet
from .results.schema import Calibration
from .targets.base import Artifact, Quantization, Target


def require_known(quantization: Quantization, targets: Sequence[Target]) -> None:
    """Every target knows the algorithm, and can mix precisions where that is asked for.

    Raises:
        EdgearkError: the first that does not.
    """
    for target in targets:
        wanted, known = quantization.algorithm, target.algorithms
        if wanted is not None and wanted not in known:
            there = f"it knows {', '.join(known)}" if known else "it has no choice"
            raise EdgearkError(f"{target.full_name} has no calibration {wanted!r}; {there}")
        if quantization.mixed and not target.can_mix():
            raise EdgearkError(f"{target.full_name} cannot mix int8 with wider layers")


def describe_calibration(images: ImageSet, artifact: Artifact) -> Calibration:
    """Where the ranges come from; an algorithm and wide layers where the target has a choice."""
    return Calibration(
        dataset=images.name,
        split=images.split,
        count=len(images),
        choice="at random, the same ones every time",
        algorithm=artifact.settings.get("algorithm"),
        wide_layers=tuple(artifact.settings.get("wide_modules", ())),
    )
