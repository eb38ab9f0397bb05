"""What a test result is worth: said at the end of a training, and kept in ``result.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .data import ImageSet
from .data.findings import Finding

_SMALL = 50  # test images; the 95 % interval of a share is wider than 0.2 below
_SIGMAS = 2.0
_LOW_MAP = 0.05


def judge_classifier(top1: float, labels: np.ndarray, classes: Sequence[str]) -> list[Finding]:
    """Too few test images, classes without one, and a result at the level of chance.

    Chance is the share of the commonest class in the test part: a network that always answers that
    one reaches it.
    """
    counts = np.bincount(labels, minlength=len(classes))
    verdicts = judge_count(len(labels), "test images", top1)
    lacking = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if lacking:
        text = "classes without a test image, of which top-1 says nothing"
        verdicts.append(Finding.of("warning", "untested-class", text, lacking))
    chance = counts.max() / len(labels)
    if top1 <= chance + _SIGMAS * math.sqrt(chance * (1 - chance) / len(labels)):
        text = (
            f"{100 * top1:.1f} % is the level of chance: always answering "
            f"{classes[int(counts.argmax())]} gives {100 * chance:.1f} %"
        )
        verdicts.append(Finding("warning", "chance-level", text))
    return verdicts


def judge_detector(map50: float, test: ImageSet) -> list[Finding]:
    """Too few test images, classes without a box in them, and next to nothing found."""
    verdicts = judge_count(len(test), "test images")
    seen = {int(index) for rows in test.labels for index in rows[:, 4]}
    lacking = [name for index, name in enumerate(test.classes) if index not in seen]
    if lacking:
        text = "classes without a test box, of which mAP says nothing"
        verdicts.append(Finding.of("warning", "untested-class", text, lacking))
    if map50 < _LOW_MAP:
        text = f"mAP50 of {100 * map50:.1f} %: nothing was learnt; try edgeark data"
        verdicts.append(Finding("warning", "chance-level", text))
    return verdicts


def judge_count(count: int, what: str, share: float | None = None) -> list[Finding]:
    """Whether ``count`` test images can tell anything; of a ``share`` with its 95 % interval."""
    if count >= _SMALL:
        return []
    text = f"{count} {what} are few"
    if share is not None and count:
        low, high = wilson_interval(share, count)
        text += f": the true figure lies between {100 * low:.0f} and {100 * high:.0f} % (95 %)"
    return [Finding("warning", "small-test", text)]


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in which a share lies that was measured on ``count`` (Wilson, 1927)."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / 2 / count) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)
