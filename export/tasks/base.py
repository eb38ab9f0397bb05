"""The contract of a task, and the registry of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator

from ...core.messages import suggest
from ...errors import EdgearkError
from ...training.data import ImageSet
from ...zoo.spec import ModelSpec, ResizeRule
from ...zoo.tasks.images import to_input
from ...zoo.tasks.letterbox import Letterbox, letterbox
from .drawing import draw_lines, photo_uri, to_rgb


@dataclass(frozen=True)
class ModelInput:
    """An image as a network takes it.

    ``x`` is raw: uint8 ``[1, C, height, width]`` in 0..255. ``size`` is the image's own, height
    and width; ``mapping`` says where the image lies in the input.
    """

    x: np.ndarray
    size: tuple[int, int]
    mapping: Letterbox


@dataclass(frozen=True)
class Sample:
    """A test image in a report: its index, the image as a data URI, and what is true of it."""

    index: int
    uri: str
    label: str


@dataclass(frozen=True)
class Difference:
    """How an answer differs from PyTorch's, in words; ``uri`` shows where, if it does."""

    words: str
    uri: str = ""


@dataclass(frozen=True)
class Answer:
    """A target's answer to a sample in a report: an image as a data URI, or words alone.

    ``right`` says whether the answer is right, where that is yes or no; ``score`` is a probability,
    ``error`` how far the raw outputs are from PyTorch's, ``difference`` how far the answer is.
    """

    words: str
    uri: str = ""
    right: bool | None = None
    score: float | None = None
    error: str = ""
    difference: Difference | None = None


# Raw outputs of the first n test images to an answer a sample; None for a sample beyond them.
Answers = Callable[[Sequence[np.ndarray]], Sequence[Answer | None]]


class Task(ABC):
    """What a network is for: how an image goes in, what comes out, how good that is.

    A subclass with :func:`register_task` is all that a new task needs. ``name`` is the one in
    :class:`ModelSpec`; templates of board scripts and of projects are found by it.
    """

    name: ClassVar[str]
    metric_title: ClassVar[str]  # of the first figure, in a report
    metric_drop_factor: ClassVar[float] = 2.0  # times the drop that a target allows for accuracy
    resize: ClassVar[ResizeRule] = "stretch"  # where a spec names no rule
    resizes: ClassVar[tuple[ResizeRule, ...]] = ("stretch", "letterbox")  # that a spec may name
    is_labelled: ClassVar[bool] = True  # data sets have labels that its metric needs
    has_head: ClassVar[bool] = False  # a spec's head and strides say how outputs are decoded
    columns: ClassVar[tuple[str, ...]] = ("answer", "value")  # of :meth:`rows`
    samples_caption: ClassVar[str]  # in a report, above the samples
    samples_class: ClassVar[str] = ""  # CSS: "medium" or "large" images in a report

    def preprocess(self, spec: ModelSpec, image: np.ndarray) -> ModelInput:
        """An image of any size, uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), as the network's input.

        Raises:
            ValueError: the array is not a uint8 image.
        """
        size = image.shape[:2]
        if self.resize_rule(spec) == "letterbox":
            x, mapping = letterbox(image, spec.input_size, spec.color, centred=spec.is_centred)
            return ModelInput(x, size, mapping)
        x = to_input(image, spec.input_size, spec.in_channels)
        scale = (spec.input_size[1] / size[1], spec.input_size[0] / size[0])
        mapping = Letterbox(scale, (0, 0), size)
        return ModelInput(x[:, ::-1] if spec.color == "bgr" else x, size, mapping)

    def resize_rule(self, spec: ModelSpec) -> ResizeRule:
        """How images of a network of this task get its input's size."""
        return spec.resize or self.resize

    @abstractmethod
    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        """What a network says of an image, by the name of what it is.

        Args:
            spec: the network's.
            outputs: its raw outputs, batch 1.
            model_input: what :meth:`preprocess` made of the image.

        Returns:
            JSON values; and uint8 ``[h, w]`` arrays of the image's size, a class a pixel, which
            ``edgeark run`` writes into files.

        Raises:
            ValueError: the outputs do not fit the spec.
        """

    def rows(self, meaning: dict[str, Any]) -> list[dict[str, Any]]:
        """What :meth:`postprocess` found as the rows of a table, by the names in ``columns``."""
        return [{"answer": name, "value": value} for name, value in meaning.items()]

    def describe(self, meaning: dict[str, Any]) -> str:
        """The same in one line; '' where nothing was found."""
        return ", ".join(f"{name} {value}" for name, value in meaning.items())

    def summarize(self, meaning: dict[str, Any]) -> str:
        """The same in a few words, below a drawn answer."""
        return self.describe(meaning)

    def draw(self, spec: ModelSpec, image: np.ndarray, meaning: dict[str, Any]) -> np.ndarray:
        """What was found, drawn into a copy of its image: uint8 ``[h, w, 3]`` (rgb)."""
        return draw_lines(image, [self.describe(meaning)])

    @abstractmethod
    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        """Metrics of raw outputs ``[N, ...]`` by name, in 0..1; limits look at the first."""

    def decoder(self, spec: ModelSpec) -> str:
        """The decoder of a board program that reads the raw outputs; '' if the spec lacks it."""
        return "raw"

    def count_scored(self, test: ImageSet) -> int:
        """How many of the images the first figure is about."""
        return len(test)

    @abstractmethod
    def choose_samples(
        self,
        spec: ModelSpec,
        test: ImageSet,
        reference: Sequence[np.ndarray],
        answered: Sequence[Sequence[np.ndarray]],
    ) -> tuple[list[Sample], Answers]:
        """Test images for a report, and what turns a target's raw outputs into answers to them.

        Args:
            spec: the network's.
            test: N images.
            reference: PyTorch's raw outputs for them.
            answered: raw outputs of targets, each for the first n <= N images.
        """

    def show(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], pixels: np.ndarray
    ) -> Answer | None:
        """An answer to an input of a network, for a report; None where nothing is known of it.

        Args:
            spec: the network's.
            outputs: its raw outputs, batch 1.
            pixels: the raw input, uint8 ``[C, height, width]``.
        """
        size = (pixels.shape[1], pixels.shape[2])
        whole = ModelInput(pixels[None], size, Letterbox((1.0, 1.0), (0, 0), size))
        meaning = self.postprocess(spec, outputs, whole)
        if not meaning:
            return None
        drawn = self.draw(spec, to_rgb(pixels, spec.color), meaning)
        return Answer(self.summarize(meaning), photo_uri(drawn))

    def compare_answers(
        self,
        spec: ModelSpec,
        outputs: Sequence[np.ndarray],
        reference: Sequence[np.ndarray],
        pixels: np.ndarray,
    ) -> Difference | None:
        """How an answer to an input differs from PyTorch's; None where its words say it.

        Args:
            spec: the network's.
            outputs: its raw outputs on a target, batch 1.
            reference: PyTorch's.
            pixels: the raw input, uint8 ``[C, height, width]``.
        """
        return None

    def decoded_shapes(self, spec: ModelSpec) -> list[tuple[int, ...]]:
        """Shapes of the raw outputs, batch 1, as the decoders of board scripts read them.

        Raises:
            EdgearkError: no script decodes them.
        """
        raise EdgearkError(f"no script decodes {self.name}")


@contextmanager
def reading_outputs(spec: ModelSpec) -> Iterator[None]:
    """Inside, a task reads the raw outputs of a network, which need not be what its spec says.

    Raises:
        EdgearkError: they are not.
    """
    try:
        yield
    except ValueError as error:
        raise EdgearkError(
            f"the outputs of {spec.description} are not those of {spec.task} as its spec or "
            f"manifest says: {error}"
        ) from None


_TASKS: dict[str, Task] = {}


def register_task(task: type[Task]) -> type[Task]:
    """Class decorator: makes a task known by its name, or replaces the one of that name."""
    _TASKS[task.name] = task()
    return task


def list_tasks() -> list[str]:
    """Names of all tasks."""
    return sorted(_TASKS)


def _known_task(name: str) -> str:
    if name not in _TASKS:
        raise ValueError(f"a task is one of {', '.join(list_tasks())}")
    return name


TaskName = Annotated[str, AfterValidator(_known_task)]
"""In a pydantic model: the name of a task that is registered."""


def get_task(name: str) -> Task:
    """The task of a :class:`ModelSpec`.

    Raises:
        EdgearkError: no task of that name is registered.
    """
    try:
        return _TASKS[name]
    except KeyError:
        hint = suggest(name, list_tasks(), f"there are {', '.join(list_tasks())}")
        raise EdgearkError(f"unknown task {name!r}; {hint}") from None
