"""``spec.toml``: what a user's network is for, how it is fed, and how its outputs are read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from ...core.files import read_text_file
from ...core.messages import describe_invalid
from ...errors import SourceError
from ...zoo.spec import Color, Head, ResizeRule
from ..tasks import TaskName, get_task
from .shapes import InputOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_THRESHOLDS = {"score_threshold", "iou_threshold", "max_boxes"}
Share = Annotated[float, Field(gt=0, lt=1)]


class SpecFile(BaseModel):
    """The content of a spec.toml; what is left out keeps its default.

    ``dataset`` is the kind of labelled data in ``--data``: image_folder, mask_folder, coco_json
    and the others of ``edgeark train --dataset``; the task's metric is measured on it. A detector
    has a ``head``, with ``strides`` in pixels a cell and, for yolov5, ``anchors``: of each stride
    widths and heights in pixels; and it may have thresholds of its own, as :class:`ModelSpec` has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: TaskName = "raw"
    classes: tuple[str, ...] = ()
    input_shape: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None
    color: Color | None = None
    resize: ResizeRule | None = None
    dataset: str = ""
    head: Head = ""
    strides: tuple[PositiveInt, ...] = ()
    anchors: tuple[tuple[tuple[PositiveFloat, PositiveFloat], ...], ...] = ()
    score_threshold: Share | None = None
    iou_threshold: Share | None = None
    max_boxes: PositiveInt | None = None


def read_spec(path: Path, options: InputOptions) -> InputOptions:
    """What a spec.toml says; what the options say counts more.

    Raises:
        SourceError: no such file, not TOML, an unknown or a wrong field, or fields that contradict.
    """
    try:
        found = SpecFile.model_validate(tomllib.loads(read_text_file(path)))
    except OSError as error:
        raise SourceError(f"--spec {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"--spec {path} is not TOML: {error}") from None
    except ValidationError as error:
        raise SourceError(f"--spec {path}: {describe_invalid(error)}") from None
    _check(found, path)
    return replace(
        options,
        shapes=options.shapes or found.input_shape,
        mean=options.mean or found.mean,
        std=options.std or found.std,
        color=options.color or found.color,
        resize=options.resize or found.resize,
        task=found.task,
        classes=found.classes,
        dataset=found.dataset,
        head=found.head,
        strides=found.strides,
        anchors=found.anchors,
        thresholds=found.model_dump(include=_THRESHOLDS, exclude_none=True),
    )


def _check(found: SpecFile, path: Path) -> None:
    """Fields that are right, but not together."""
    task = get_task(found.task)
    if task.is_labelled and not found.classes:
        raise SourceError(f"--spec {path}: {found.task} needs classes = [...]")
    if task.has_head and not (found.head and found.strides):
        raise SourceError(f"--spec {path}: {found.task} needs head and strides")
    if found.head == "yolov5" and len(found.anchors) != len(found.strides):
        raise SourceError(f"--spec {path}: yolov5 needs the anchors of each stride")
    if not task.has_head and found.model_dump(include=_THRESHOLDS, exclude_none=True):
        raise SourceError(
            f"--spec {path}: thresholds are a detector's, and the task is {found.task}"
        )
    if found.dataset and not task.is_labelled:
        raise SourceError(f"--spec {path}: a dataset has labels: say the task")
