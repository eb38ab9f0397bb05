"""What is exported: a model, the images that prove it, and PyTorch's answers to them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from ..errors import DataError, EdgearkError
from ..training.data import Frame, ImageSet, load_images
from ..zoo.registry import create_model
from ..zoo.spec import ModelSpec, name_of, spec_of
from .graph.files import Graph
from .results.compare import task_figures
from .targets.base import DEFAULT_QUANTIZATION, Quantization

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalContext:
    """A model ready for export, with the images that prove it and PyTorch's answers to them."""

    name: str
    spec: ModelSpec
    graph: Graph
    test: ImageSet
    reference: list[np.ndarray]
    read_calibration: Callable[[], ImageSet]
    quantization: Quantization = DEFAULT_QUANTIZATION
    is_proxy_dataset: bool = (
        False  # the images stand in for those of the data set it was trained on
    )
    _figures: dict[int, dict[str, float]] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def calibration(self) -> ImageSet:
        """Training images to choose int8 ranges by; read when the first target asks for them."""
        return self.read_calibration()

    def figures(self, count: int) -> dict[str, float]:
        """PyTorch's :func:`~.verify.task_figures` on the first ``count`` test images.

        Measured once: every target is compared with them, and a detector's take seconds.
        """
        if count not in self._figures:
            outputs = [output[:count] for output in self.reference]
            self._figures[count] = task_figures(self.spec, outputs, self.test.head(count))
        return self._figures[count]


def prepare(
    model: str | nn.Module,
    folder: Path,
    *,
    weights: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
) -> EvalContext:
    """Load the model and its data set, and ask PyTorch for the answers to compare with."""
    if isinstance(model, str):
        model = create_model(model, pretrained=True, weights=weights)
    spec, name = spec_of(model), name_of(model)
    shape = spec.input_shape[1:]
    dataset, test = load_test_images(spec, data)
    if test.classes and len(test.classes) != len(spec.classes):
        raise EdgearkError(
            f"{test.name} has {len(test.classes)} classes, the network {len(spec.classes)}"
        )
    test = test.head(limit)
    graph = Graph(model, spec, folder)
    sample = functools.partial(
        *(load_images, dataset, "train", data),
        shape=shape,
        sample=quantization.count,
        frame=Frame.of(spec),
    )
    reference = graph.reference(test.images)
    is_proxy_dataset = dataset != spec.dataset
    return EvalContext(name, spec, graph, test, reference, sample, quantization, is_proxy_dataset)


def load_test_images(spec: ModelSpec, data: Path | None) -> tuple[str, ImageSet]:
    """The test part of the model's data set, and that data set's name.

    Where MNIST can neither be found nor fetched, scikit-learn's handwritten digits take its place;
    every figure then says so.
    """
    shape, frame = spec.input_shape[1:], Frame.of(spec)
    try:
        return spec.dataset, load_images(spec.dataset, "test", data, shape=shape, frame=frame)
    except DataError as error:
        if data is not None or spec.dataset != "mnist":
            raise
        _warn_once(f"using scikit-learn's digits instead of MNIST: {error}")
        return "digits", load_images("digits", "test", shape=shape)


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)
