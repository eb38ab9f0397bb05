"""Raw outputs: a network of a user's own, of which nothing but its tensors is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...training.data import ImageSet
from ...zoo.spec import ModelSpec
from .base import Answers, ModelInput, Sample, Task, register_task

RAW = "raw"


@register_task
class Raw(Task):
    """No metric and nothing to decode: outputs are compared as numbers."""

    name = RAW
    metric_title = "metric"
    is_labelled = False
    samples_caption = ""

    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        return {}

    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        return {}

    def choose_samples(
        self,
        spec: ModelSpec,
        test: ImageSet,
        reference: Sequence[np.ndarray],
        answered: Sequence[Sequence[np.ndarray]],
    ) -> tuple[list[Sample], Answers]:
        return [], lambda outputs: []
