"""Detection: where objects are in an image, and of which class each is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import EdgearkError
from ...training.data import ImageSet
from ...training.metrics import find_boxes, mean_average_precision, true_boxes
from ...zoo.spec import ModelSpec
from ...zoo.tasks.boxes import Boxes
from ...zoo.tasks.detection import detect
from .base import Answer, Answers, Difference, ModelInput, Sample, Task, register_task
from .differences import box_difference
from .drawing import draw_named_boxes, photo_uri


@register_task
class Detection(Task):
    """``detections``: boxes in the image's pixels, best first. Metric: ``map50``."""

    name = "detection"
    metric_title = "mAP50"
    resize = "letterbox"
    has_head = True
    columns = ("class", "score", "x1", "y1", "x2", "y2")
    samples_caption = (
        "Images evenly through the test set. On top the true boxes; then every place's boxes with "
        "a score above the threshold, one colour a class, and how many there are."
    )
    samples_class = "large"

    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        return {"detections": detect(spec, outputs, model_input.mapping)}

    def rows(self, meaning: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "class": found["name"],
                "score": found["score"],
                **{
                    name: round(x, 1)
                    for name, x in zip(self.columns[2:], found["box"], strict=True)
                },
            }
            for found in meaning["detections"]
        ]

    def describe(self, meaning: dict[str, Any]) -> str:
        return ", ".join(
            f"{found['name']} {100 * found['score']:.1f} % at "
            + " ".join(f"{side:.0f}" for side in found["box"])
            for found in meaning["detections"]
        )

    def summarize(self, meaning: dict[str, Any]) -> str:
        return _count([found["name"] for found in meaning["detections"]])

    def draw(self, spec: ModelSpec, image: np.ndarray, meaning: dict[str, Any]) -> np.ndarray:
        return draw_named_boxes(image, meaning["detections"])

    def compare_answers(
        self,
        spec: ModelSpec,
        outputs: Sequence[np.ndarray],
        reference: Sequence[np.ndarray],
        pixels: np.ndarray,
    ) -> Difference:
        (found,), (wanted,) = (find_boxes(spec, each) for each in (outputs, reference))
        return box_difference(pixels, spec.color, found, wanted)

    def decoder(self, spec: ModelSpec) -> str:
        return spec.head

    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        return mean_average_precision(spec, outputs, test.labels)

    def choose_samples(
        self,
        spec: ModelSpec,
        test: ImageSet,
        reference: Sequence[np.ndarray],
        answered: Sequence[Sequence[np.ndarray]],
    ) -> tuple[list[Sample], Answers]:
        from ...training.plots import spread  # matplotlib is slow to import

        indices = spread(len(test))
        truths = [true_answer(test, spec.color, index) for index in indices]
        shown = [Sample(i, each.uri, each.words) for i, each in zip(indices, truths, strict=True)]
        return shown, lambda outputs: box_answers(spec, outputs, test, indices)

    def decoded_shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        if not spec.anchors or len(spec.anchors) != len(spec.strides):
            raise EdgearkError(
                f"{len(spec.anchors)} sets of anchors for {len(spec.strides)} strides; only "
                f"detectors with anchors (YOLOv5) are decoded by scripts"
            )
        height, width = spec.input_size
        return [
            (1, len(sizes) * (5 + len(spec.classes)), height // stride, width // stride)
            for sizes, stride in zip(spec.anchors, spec.strides, strict=True)
        ]


def true_answer(test: ImageSet, color: str, index: int) -> Answer:
    """An image with the boxes of its label."""
    return _answer(test, color, index, true_boxes(test.labels[index]))


def box_answers(
    spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet, indices: Sequence[int]
) -> list[Answer | None]:
    """A place's boxes, at the thresholds of an application, in the images ``indices``.

    Args:
        spec: the network's.
        outputs: raw maps of the first n images; None is the answer to a later one.
        test: the images.
        indices: in 0..N-1.
    """
    found: list[Answer | None] = []
    for index in indices:
        if index >= len(outputs[0]):
            found.append(None)
            continue
        (boxes,) = find_boxes(spec, [output[index][None] for output in outputs])
        found.append(_answer(test, spec.color, index, boxes))
    return found


def _answer(test: ImageSet, color: str, index: int, boxes: Boxes) -> Answer:
    words = _count([test.classes[each] for each in sorted(boxes.classes)])
    return Answer(words, _drawn_uri(test.images[index], color, boxes))


def _count(names: Sequence[str]) -> str:
    """``17 RBC, 1 WBC``."""
    return ", ".join(f"{n} {name}" for name, n in Counter(names).items()) or "nothing"


def _drawn_uri(pixels: np.ndarray, color: str, boxes: Boxes) -> str:
    """A raw image ``[C, H, W]`` with boxes, as a JPEG in a data URI."""
    from ...training.plots import draw_boxes  # matplotlib is slow to import

    return photo_uri(np.asarray(draw_boxes(pixels, color, boxes)))
