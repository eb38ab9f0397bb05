"""Classification: which of the classes an image shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...training.data import ImageSet
from ...zoo.spec import ModelSpec
from ...zoo.tasks.classification import flatten_logits, top1, top_k
from .base import Answer, Answers, ModelInput, Sample, Task, register_task
from .drawing import draw_lines, image_uri


@register_task
class Classification(Task):
    """``classes``: the likeliest, best first. Metric: ``top1``, the share of right answers."""

    name = "classification"
    metric_title = "accuracy"
    metric_drop_factor = 1.0
    columns = ("class", "index", "probability")
    samples_caption = Markup(
        "Images that some place gets wrong are among them, where there are any. Below each image: "
        "its label; then every place's answer with its score, "
        '<span class="right">✓ right</span> or <span class="wrong">✗ wrong</span>.'
    )

    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        (output,) = outputs
        return {"classes": top_k(output, spec.classes)[0]}

    def rows(self, meaning: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"class": found["name"], "index": found["index"], "probability": found["score"]}
            for found in meaning["classes"]
        ]

    def describe(self, meaning: dict[str, Any]) -> str:
        return ", ".join(_lines(meaning))

    def draw(self, spec: ModelSpec, image: np.ndarray, meaning: dict[str, Any]) -> np.ndarray:
        return draw_lines(image, _lines(meaning))

    def decoder(self, spec: ModelSpec) -> str:
        return "softmax"

    def show(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], pixels: np.ndarray
    ) -> Answer | None:
        best = top_k(outputs[0], spec.classes, k=1)[0][0]
        return Answer(best["name"], score=best["score"])

    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        return {"top1": top1(outputs[0], test.labels)}

    def choose_samples(
        self,
        spec: ModelSpec,
        test: ImageSet,
        reference: Sequence[np.ndarray],
        answered: Sequence[Sequence[np.ndarray]],
    ) -> tuple[list[Sample], Answers]:
        labels, classes = test.labels, spec.classes
        logits = [outputs[0] for outputs in (reference, *answered)]
        indices = choose_samples(labels, [flatten_logits(each).argmax(axis=1) for each in logits])
        shown = [
            Sample(i, image_uri(test.images[i], spec.color), str(classes[labels[i]]))
            for i in indices
        ]
        return shown, lambda outputs: answers(outputs[0], labels, classes, indices)

    def decoded_shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        return [(1, len(spec.classes), 1, 1)]


def _lines(meaning: dict[str, Any]) -> list[str]:
    return [f"{found['name']} {100 * found['score']:.1f} %" for found in meaning["classes"]]


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
        best = top_k(output[index][None], classes, k=1)[0][0]
        right = bool(best["index"] == labels[index])
        found.append(Answer(best["name"], right=right, score=best["score"]))
    return found


def _spread(labels: np.ndarray, indices: Sequence[int]) -> list[int]:
    """The same indices, the first of every class in front."""
    first: dict[int, int] = {}
    for index in indices:
        first.setdefault(int(labels[index]), index)
    leading = set(first.values())
    return [*first.values(), *(index for index in indices if index not in leading)]
