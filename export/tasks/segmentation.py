"""Segmentation: which pixels of an image belong to which class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...training.data import ImageSet
from ...training.metrics import mask_figures
from ...zoo.spec import ModelSpec
from ...zoo.tasks.segmentation import (
    class_colors,
    foreground_dice,
    has_foreground,
    overlay,
    resize_logits,
    to_mask,
)
from .base import Answer, Answers, Difference, ModelInput, Sample, Task, register_task
from .differences import mask_difference
from .drawing import mask_uri


@register_task
class Segmentation(Task):
    """``mask``: uint8 ``[h, w]`` of the image's size. Metric: ``dice`` over the marked images.

    ``shares`` are those of the pixels, a class each that is in the mask.
    """

    name = "segmentation"
    metric_title = "dice"
    resizes = ("stretch",)  # a mask is stretched back over its image
    columns = ("class", "index", "share")
    samples_caption = (
        "Images with a true mask, from PyTorch's worst Dice to its best, then clean ones. On top "
        "the truth; then every place's mask, with its Dice, or for a clean image the pixels found "
        "in it."
    )
    samples_class = "medium"

    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        (output,) = outputs
        mask = to_mask(resize_logits(output, model_input.size))[0]
        names = spec.classes if len(spec.classes) > 1 else ("background", *spec.classes)
        values, counts = np.unique(mask, return_counts=True)
        shares = [
            {"index": i, "name": names[i], "share": count / mask.size}
            for i, count in zip(values.tolist(), counts.tolist(), strict=True)
        ]
        return {"mask": mask, "shares": shares}

    def rows(self, meaning: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"class": found["name"], "index": found["index"], "share": found["share"]}
            for found in meaning["shares"]
        ]

    def describe(self, meaning: dict[str, Any]) -> str:
        return ", ".join(
            f"{found['name']} {100 * found['share']:.2f} %" for found in meaning["shares"]
        )

    def draw(self, spec: ModelSpec, image: np.ndarray, meaning: dict[str, Any]) -> np.ndarray:
        return overlay(image, meaning["mask"], class_colors(len(spec.classes)))

    def compare_answers(
        self,
        spec: ModelSpec,
        outputs: Sequence[np.ndarray],
        reference: Sequence[np.ndarray],
        pixels: np.ndarray,
    ) -> Difference:
        size = pixels.shape[1:]
        found, wanted = (
            to_mask(resize_logits(each[0], (size[0], size[1])))[0] for each in (outputs, reference)
        )
        return mask_difference(pixels, spec.color, found, wanted)

    def decoder(self, spec: ModelSpec) -> str:
        return "threshold" if len(spec.classes) == 1 else "argmax"

    def decoded_shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        return [(1, len(spec.classes), *spec.input_size)]

    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        return mask_figures(to_mask(outputs[0]), test)

    def count_scored(self, test: ImageSet) -> int:
        return int(has_foreground(test.labels).sum())

    def choose_samples(
        self,
        spec: ModelSpec,
        test: ImageSet,
        reference: Sequence[np.ndarray],
        answered: Sequence[Sequence[np.ndarray]],
    ) -> tuple[list[Sample], Answers]:
        count, wanted = len(spec.classes), test.labels
        indices = choose_marked(wanted, foreground_dice(to_mask(reference[0]), wanted, count))
        shown = [
            Sample(
                i,
                mask_uri(test.images[i], wanted[i], count, spec.color),
                "truth" if wanted[i].any() else "clean",
            )
            for i in indices
        ]
        return shown, lambda outputs: mask_answers(
            outputs[0], test.images, wanted, spec.color, indices
        )


def choose_marked(wanted: np.ndarray, scores: np.ndarray, count: int = 8) -> list[int]:
    """Indices of images worth showing: marked ones from the worst to the best, and clean ones.

    Args:
        wanted: the true masks ``[N, h, w]``.
        scores: Dice of the marked ones, ``[M]``.
        count: how many to choose, at most; a quarter of them clean.
    """
    foreground = has_foreground(wanted)
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
) -> list[Answer | None]:
    """A place's masks of the images ``indices``; None for those that it was not given.

    Args:
        output: raw logits ``[n, classes, h, w]`` for the first n images.
        images: uint8 ``[N, C, h, w]``, N >= n.
        wanted: the true masks ``[N, h, w]``.
        color: the order of the images' channels.
        indices: images, in 0..N-1.
    """
    num_classes = output.shape[1]
    found: list[Answer | None] = []
    for index in indices:
        if index >= len(output):
            found.append(None)
            continue
        mask, truth = to_mask(output[index][None]), wanted[index][None]
        if truth.any():
            words = f"Dice {foreground_dice(mask, truth, num_classes)[0]:.3f}"
        else:
            words = f"{np.count_nonzero(mask)} px"
        found.append(Answer(words, mask_uri(images[index], mask[0], num_classes, color)))
    return found
