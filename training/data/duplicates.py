"""Images that are in a data set twice: the same bytes, or nearly the same pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .catalog import Catalog
from .findings import Finding

if TYPE_CHECKING:
    from .look import Sight

SIDE = 16  # of the thumbnails that are compared
_ALIKE = 0.997  # correlation of two thumbnails above which they are of one image
_FLAT = 4.0  # standard deviation in gray levels: less is no image to compare
_BLOCK = 1024


def find_duplicates(sights: Sequence[Sight], catalog: Catalog) -> list[Finding]:
    """What is twice within the data set, and what is both trained on and tested on."""
    findings = []
    same: dict[str, list[Sight]] = defaultdict(list)
    for sight in sights:
        same[sight.digest].append(sight)
    twice = [found for found in same.values() if len(found) > 1]
    across = [found for found in twice if len({_side(s) for s in found}) > 1]
    if across:
        names = [" = ".join(sight.name for sight in found[:2]) for found in across]
        text = f"{len(across)} images are both trained on and tested on"
        findings.append(Finding.of("warning", "overlap", text, names))
    if catalog.task == "classification":
        torn = [found for found in twice if len({tuple(s.counts) for s in found}) > 1]
        if torn:
            names = [" = ".join(sight.name for sight in found[:2]) for found in torn]
            text = f"{len(torn)} images are in several classes"
            findings.append(Finding.of("warning", "two-classes", text, names))
    within = [found for found in twice if found not in across]
    if within:
        names = [" = ".join(sight.name for sight in found[:2]) for found in within]
        text = f"{len(within)} images are there several times"
        findings.append(Finding.of("info", "duplicate", text, names))
    known = {sight.digest for found in across for sight in found}
    near = near_pairs(
        [s for s in sights if _side(s) == "train"],
        [s for s in sights if _side(s) == "test" and s.digest not in known],
    )
    if near:
        names = [f"{test.name} ~ {train.name}" for train, test in near]
        text = f"{len(near)} test images look nearly like a training image"
        findings.append(Finding.of("warning", "near-duplicate", text, names))
    return findings


def near_pairs(train: Sequence[Sight], test: Sequence[Sight]) -> list[tuple[Sight, Sight]]:
    """For each test image that has one, the training image that it looks like."""
    train_codes, test_codes = _codes(train), _codes(test)
    pairs = []
    if not len(train_codes):
        return []
    for start in range(0, len(test_codes), _BLOCK):
        alike = test_codes[start : start + _BLOCK] @ train_codes.T
        best = alike.argmax(axis=1)
        for row in np.flatnonzero(alike[np.arange(len(best)), best] > _ALIKE).tolist():
            pairs.append((train[best[row]], test[start + row]))
    return pairs


def _side(sight: Sight) -> str:
    return "train" if sight.split == "train" else "test"


def _codes(sights: Sequence[Sight]) -> np.ndarray:
    """Thumbnails as vectors of length 1 without their mean; zeros for flat ones."""
    if not sights:
        return np.zeros((0, SIDE * SIDE), np.float32)
    pixels = np.stack([sight.thumbnail for sight in sights]).reshape(len(sights), -1)
    values = pixels.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    flat = values.std(axis=1) < _FLAT
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    values[flat] = 0
    return values
