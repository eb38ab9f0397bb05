"""What is exported: a model, the images that prove it, and PyTorch's answers to them."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..errors import DataError, EdgearkError
from ..training.data import Frame, ImageSet, load_images
from ..zoo.registry import create_model
from ..zoo.spec import ModelSpec, name_of, spec_of
from .graph.files import Graph
from .graph.network import LintError
from .results.compare import compare, task_figures
from .sources import Source, SourceError
from .sources.network import Reference, named_as
from .sources.rewriting import rewrite_source
from .sources.samples import (
    MOST,
    NOISE,
    NOISE_COUNT,
    as_image_set,
    noise_samples,
    read_samples,
    split_files,
)
from .targets.base import DEFAULT_QUANTIZATION, Quantization, Target

logger = logging.getLogger(__name__)

MetricFunction = Callable[[Sequence[np.ndarray], ImageSet], dict[str, float]]
"""A metric of raw outputs ``[N, ...]`` on samples, by name; the first figure is judged."""

_HALF_COUNT = 16


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
    is_proxy_dataset: bool = False  # the images stand in for those of the network's data set
    reference_name: Reference = "pytorch"
    on_noise: bool = False
    is_labelled: bool = True  # the images have labels, by which the task's metric is measured
    metric: MetricFunction | None = None
    rewrites: tuple[Mapping[str, Any], ...] = ()
    training_verdicts: tuple[str, ...] = ()  # what the training said of its own test
    _figures: dict[int, dict[str, float]] = field(default_factory=dict, init=False, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def calibration(self) -> ImageSet:
        """Training images to choose int8 ranges by; the first target that asks has them read."""
        with self._reading:
            return self._calibration

    @functools.cached_property
    def _calibration(self) -> ImageSet:
        return self.read_calibration()

    def figures(self, count: int) -> dict[str, float]:
        """PyTorch's :func:`~.verify.task_figures` on the first ``count`` test images.

        Measured once: every target is compared with them, and a detector's take seconds.
        """
        if count not in self._figures:
            outputs = [output[:count] for output in self.reference]
            self._figures[count] = self.measure(outputs, self.test.head(count))
        return self._figures[count]

    def measure(self, outputs: Sequence[np.ndarray], test: ImageSet) -> dict[str, float]:
        """The task's figures of raw outputs, or those of the user's metric; {} without labels."""
        if self.metric is not None:
            return self.metric(outputs, test)
        if not self.is_labelled:
            return {}
        return task_figures(self.spec, outputs, test)

    @functools.cached_property
    def half_db(self) -> float | None:
        """What ``half()`` of the same network reaches in PyTorch, in dB; None: it cannot run so."""
        test = self.test.head(_HALF_COUNT)
        reference = [output[: len(test)] for output in self.reference]
        try:
            outputs = self.graph.half_reference(test.images)
            return compare(reference, outputs).sqnr_db
        except (RuntimeError, EdgearkError) as error:  # an operator without a half kernel
            logger.debug("no half() of %s: %s", self.name, error)
            return None

    @property
    def provenance(self) -> str:
        """What the evidence rests on, beyond PyTorch and real samples; '' where it is these."""
        noise = " on noise" if self.on_noise else ""
        against = "" if self.reference_name == "pytorch" else f" against {self.reference_name}"
        return noise + against


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
    _require_classes(spec, test)
    test = test.stratified(limit)
    graph = Graph(model, spec, folder)
    sample = functools.partial(
        *(load_images, dataset, "train", data),
        shape=shape,
        sample=quantization.count,
        frame=Frame.of(spec),
    )
    reference = require_answers(graph.reference(test.images))
    is_proxy_dataset = dataset != spec.dataset
    return EvalContext(name, spec, graph, test, reference, sample, quantization, is_proxy_dataset)


def require_answers(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """PyTorch's answers, if a target's can be compared with them.

    Raises:
        EdgearkError: there are none, or they are no numbers.
    """
    for index, output in enumerate(outputs):
        if output.size == 0:
            raise EdgearkError(f"output {index} of the network is empty: {list(output.shape)}")
        if not np.isfinite(output).all():
            raise EdgearkError(
                f"output {index} of the network holds infinite or undefined values in PyTorch "
                "itself: look at its weights, and at --mean and --std"
            )
    if not outputs:
        raise EdgearkError("the network has no outputs")
    return outputs


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


def prepare_source(
    source: Source,
    folder: Path,
    *,
    images: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    metric: MetricFunction | None = None,
    rewrite_for: Sequence[Target] = (),
) -> EvalContext:
    """A network of a user's own, with samples and the answers to compare with.

    Args:
        source: what is exported.
        folder: where its files go.
        images: a folder of samples, calibrated and compared on; None: the spec's labelled data, or
            seeded noise where it names none.
        data: the folder of the labelled data.
        limit: at most so many samples to compare on.
        quantization: how int8 is made.
        metric: the user's own.
        rewrite_for: targets whose rules are rewritten away first; the original's answers count.

    Raises:
        DataError: the folder holds nothing that the network takes.
        SourceError: the network's outputs cannot be compared.
    """
    spec = source.spec
    is_labelled = bool(spec.dataset) and images is None
    if is_labelled:
        (name, test), files = load_test_images(spec, data), None
        _require_classes(spec, test)
        test = test.stratified(limit)
    elif images is None:
        name, files = NOISE, None
        test = as_image_set(NOISE, "test", noise_samples(spec, limit or NOISE_COUNT))
    else:
        name, files = images.resolve().name, split_files(images, spec)
        test = as_image_set(name, "test", read_samples(files[1], spec, limit or MOST))

    def read_calibration() -> ImageSet:
        if is_labelled:
            shape, frame = spec.input_shape[1:], Frame.of(spec)
            count = quantization.count
            return load_images(name, "train", data, shape=shape, sample=count, frame=frame)
        if files is None:
            samples = noise_samples(spec, min(quantization.count, NOISE_COUNT), seed=1)
        else:
            samples = read_samples(files[0], spec, quantization.count)
        return as_image_set(name, "calibration", samples)

    original = graph = source.make_graph(folder)
    if source.reference == "pytorch":
        _require_static(graph, source)
    changes, converted = source.folding, source.folded
    if rewrite_for:
        done = rewrite_source(source, rewrite_for, flat=True)
        changes, converted = done.changes, replace(source, model=named_as(done.model, source))
    if converted is not source:
        (folder / "rewritten").mkdir()
        graph = converted.make_graph(folder / "rewritten")
    reference = require_answers(original.reference(test.images, batch=1))
    if any(len(output) != len(test) for output in reference):
        raise SourceError("an output has no batch of 1 in front: return it with one")
    return EvalContext(
        name=source.name,
        spec=spec,
        graph=graph,
        test=test,
        reference=reference,
        read_calibration=read_calibration,
        quantization=quantization,
        reference_name=source.reference,
        on_noise=images is None and not is_labelled,
        is_labelled=is_labelled,
        metric=metric,
        rewrites=tuple(change.to_dict() for change in changes),
    )


def _require_classes(spec: ModelSpec, test: ImageSet) -> None:
    if test.classes and len(test.classes) != len(spec.classes):
        raise EdgearkError(
            f"{test.name} has {len(test.classes)} classes, the network {len(spec.classes)}"
        )


def _require_static(graph: Graph, source: Source) -> None:
    try:
        _ = graph.network
    except LintError as error:
        where = f" at {error.source}" if error.source else ""
        raise SourceError(f"{source.name}{where}: {error}; {error.fix}") from error


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)
