"""Test images to show in a report, and every place's answers to them: classes or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...zoo.tasks import classification, segmentation
from .plots import mask_uri


@dataclass(frozen=True)
class Answer:
    """A place's best class for one image; ``score`` is its softmax probability."""

    name: str
    score: float
    right: bool


@dataclass(frozen=True)
class MaskAnswer:
    """A place's mask, painted over the image; ``words`` say how good it is."""

    uri: str
    words: str


def choose_samples(
    labels: np.ndarray, predictions: Sequence[np.ndarray], count: int = 10
) -> list[int]:
    """Indices of images worth showing: up to half are hard, the rest easy and of many classes.

    An image is hard if any place gets it wrong. Somewhat more than half of these are ones on which
    the places differ, the most evenly split first, lest one bad export fill the page; the rest are
    wrong everywhere. Images that all places were given come before the others.

    Args:
        labels: int64 ``[N]``.
        predictions: a place's classes for the first n <= N images, ``[n]`` each.
        count: how many to choose, at most.

    Returns:
        The easy ones by class, then the hard ones.
    """
    wrong, asked = np.zeros(len(labels), int), np.zeros(len(labels), int)
    for classes in predictions:
        n = len(classes)
        asked[:n] += 1
        wrong[:n] += classes != labels[:n]
    split = np.minimum(wrong, asked - wrong)
    disputed, unfixable, easy = (
        sorted(np.flatnonzero(kind).tolist(), key=lambda i: (-asked[i], -split[i], i))
        for kind in ((wrong > 0) & (wrong < asked), (wrong > 0) & (wrong == asked), wrong == 0)
    )
    half = count // 2
    lead = max((half + 1) // 2, half - len(unfixable))
    hard = sorted([*disputed[:lead], *unfixable, *disputed[lead:]], key=lambda i: -asked[i])
    shown = hard[: max(half, count - len(easy))]
    covered = set(labels[shown].tolist())
    plain = sorted(_spread(labels, easy), key=lambda i: labels[i] in covered)
    plain = sorted(plain[: count - len(shown)], key=lambda i: labels[i])
    return [*plain, *shown]


def answers(
    output: np.ndarray, labels: np.ndarray, classes: Sequence[str], indices: Sequence[int]
) -> list[Answer | None]:
    """A place's answers to the images ``indices``; None for those that it was not given.

    Args:
        output: raw ``[n, classes, ...]`` for the first n images.
        labels: int64 ``[N]``, N >= n.
        classes: the names.
        indices: images, in 0..N-1.
    """
    found: list[Answer | None] = []
    for index in indices:
        if index >= len(output):
            found.append(None)
            continue
        best = classification.top_k(output[index][None], classes, k=1)[0][0]
        found.append(Answer(best["name"], best["score"], best["index"] == labels[index]))
    return found


def choose_marked(wanted: np.ndarray, scores: np.ndarray, count: int = 8) -> list[int]:
    """Indices of images worth showing: marked ones from the worst to the best, and clean ones.

    Args:
        wanted: the true masks ``[N, h, w]``.
        scores: Dice of the marked ones, ``[M]``.
        count: how many to choose, at most; a quarter of them clean.
    """
    foreground = segmentation.has_foreground(wanted)
    clean = np.flatnonzero(~foreground)[: count // 4].tolist()
    ranked = np.flatnonzero(foreground)[np.argsort(scores, kind="stable")]
    places = np.linspace(0, len(ranked) - 1, min(count - len(clean), len(ranked)))
    return [*ranked[places.round().astype(int)].tolist(), *clean]


def mask_answers(
    output: np.ndarray,
    images: np.ndarray,
    wanted: np.ndarray,
    color: str,
    indices: Sequence[int],
) -> list[MaskAnswer | None]:
    """A place's masks of the images ``indices``; None for those that it was not given.

    Args:
        output: raw logits ``[n, classes, h, w]`` for the first n images.
        images: uint8 ``[N, C, h, w]``, N >= n.
        wanted: the true masks ``[N, h, w]``.
        color: the order of the images' channels.
        indices: images, in 0..N-1.
    """
    num_classes = output.shape[1]
    found: list[MaskAnswer | None] = []
    for index in indices:
        if index >= len(output):
            found.append(None)
            continue
        mask, truth = segmentation.to_mask(output[index][None]), wanted[index][None]
        if truth.any():
            words = f"Dice {segmentation.foreground_dice(mask, truth, num_classes)[0]:.3f}"
        else:
            words = f"{np.count_nonzero(mask)} px"
        found.append(MaskAnswer(mask_uri(images[index], mask[0], num_classes, color), words))
    return found


def _spread(labels: np.ndarray, indices: Sequence[int]) -> list[int]:
    """The same indices, the first of every class in front."""
    first: dict[int, int] = {}
    for index in indices:
        first.setdefault(int(labels[index]), index)
    leading = set(first.values())
    return [*first.values(), *(index for index in indices if index not in leading)]
