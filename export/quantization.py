"""How int8 is made: what the user may choose, and what a row says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EdgearkError
from ..training.data import ImageSet

if TYPE_CHECKING:
    from .target import Artifact, Target


@dataclass(frozen=True)
class Quantization:
    """How int8 is made.

    Args:
        count: calibration pictures, drawn from the training part.
        algorithm: one of :attr:`Target.algorithms`; None: the first.
        mixed: layers that int8 ruins get more bits.
    """

    count: int = 200
    algorithm: str | None = None
    mixed: bool = False


DEFAULT_QUANTIZATION = Quantization()


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


def describe_calibration(pictures: ImageSet, artifact: Artifact) -> dict[str, Any]:
    """Where the ranges come from; an algorithm and wide layers where the target has a choice."""
    return {
        "dataset": pictures.name,
        "split": pictures.split,
        "count": len(pictures),
        "choice": "at random, the same ones every time",
        "algorithm": artifact.settings.get("algorithm"),
        "wide_layers": artifact.settings.get("wide_modules", []),
    }
