"""What a report says of one network: its rows, sample answers and errors.

Either of exports that were just made, with their test set, or of exports that are there, with their
golden inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...zoo.spec import ModelSpec
from ..results.layers_file import LayerReport, read_layers
from ..results.schema import ExportResult, ProvenResult
from ..targets.base import Target
from ..tasks import Answer, Sample, Task, get_task, reading_outputs
from ..tasks.drawing import image_uri
from ..verify import Reopened, require_unchanged, run_export
from . import plots

if TYPE_CHECKING:
    from ..prepare import EvalContext

_SHOWN = 4  # inputs without labels
_SHOWN_CAPTION = (
    "Inputs of the network with PyTorch's answers, and every export's, with its largest difference "
    "from PyTorch's raw outputs for that input."
)


@dataclass(frozen=True)
class AnswerLine:
    """One place's answers to the samples; ``why`` says why there are none."""

    target: str
    precision: str
    answers: Sequence[Answer | None]
    why: str = ""


@dataclass(frozen=True)
class Section:
    """All that the report says of one network; ``data`` says what it was asked about."""

    name: str
    spec: ModelSpec
    data: str
    rows: Sequence[ExportResult]
    task: Task
    caption: str
    has_differences: bool
    samples: list[Sample]
    lines: list[AnswerLine]
    errors: tuple[plots.Axis, list[plots.Histogram]]
    layers: Sequence[plots.LayerChart] = ()


def section_of_context(
    context: EvalContext, rows: Sequence[ExportResult], targets: dict[str, Target]
) -> Section:
    """Of a network that was just exported.

    Args:
        context: the network with its test set.
        rows: its exports.
        targets: by name.
    """
    spec, test, task = context.spec, context.test, get_task(context.spec.task)
    asked = [_Asked(row, row.outputs, context.reference) for row in rows]
    if context.is_labelled:
        shown, answer = task.choose_samples(
            spec, test, context.reference, [row.outputs for row in rows if row.outputs]
        )
        lines = [AnswerLine("PyTorch", "float32", answer(context.reference))]
        for each in asked:
            if not each.outputs:
                lines.append(_silent(each.row))
                continue
            answers = [
                found and _with_difference(found, spec, each, sample.index, test.images)
                for found, sample in zip(answer(each.outputs), shown, strict=True)
            ]
            lines.append(AnswerLine(each.row.target, each.row.precision, answers))
    else:
        shown, lines = _unlabelled(spec, test.images, context.reference, asked)
    return Section(
        name=context.name,
        spec=spec,
        data=f"{len(test):,} {test.split} images of {test.name}",
        rows=rows,
        task=task,
        caption=task.samples_caption if context.is_labelled else _SHOWN_CAPTION,
        has_differences=_have_differences(lines),
        samples=shown,
        lines=lines,
        errors=_histograms(asked, targets),
    )


def sections_of_exports(
    exports: Sequence[Reopened], targets: dict[str, Target], *, measure: bool = False
) -> list[Section]:
    """Of exports that are there, a section a network, from their manifests and golden inputs.

    Args:
        exports: of any networks and targets.
        targets: by name.
        measure: run each on its golden inputs, for the times: a manifest has none.

    Raises:
        EdgearkError: golden vectors are missing or broken; with ``measure``: nothing here runs one.
    """
    groups: dict[str, list[Reopened]] = {}
    for export in exports:
        groups.setdefault(export.manifest.model, []).append(export)
    return [_of_group(name, group, targets, measure) for name, group in groups.items()]


@dataclass(frozen=True)
class _Asked:
    """An export's answers beside PyTorch's to the same inputs."""

    row: ExportResult
    outputs: Sequence[np.ndarray]
    reference: Sequence[np.ndarray]


def _of_group(
    name: str, exports: Sequence[Reopened], targets: dict[str, Target], measure: bool
) -> Section:
    goldens = [export.golden() for export in exports]
    spec, images = exports[0].manifest.spec, goldens[0].images
    asked = [
        _Asked(_row(export, golden.images, measure), golden.answers, golden.reference)
        for export, golden in zip(exports, goldens, strict=True)
    ]
    is_same = [np.array_equal(golden.images, images) for golden in goldens]
    comparable = [
        each if same else _Asked(each.row, [], each.reference)
        for each, same in zip(asked, is_same, strict=True)
    ]
    shown, lines = _unlabelled(spec, images, goldens[0].reference, comparable)
    return Section(
        name=name,
        spec=spec,
        data=f"{len(images)} golden inputs",
        rows=[each.row for each in asked],
        task=get_task(spec.task),
        caption=_SHOWN_CAPTION,
        has_differences=_have_differences(lines),
        samples=shown,
        lines=lines,
        errors=_histograms(asked, targets),
        layers=[
            plots.layer_chart(found.target, found.precision, found.layers)
            for found in map(_layers_of, exports)
            if found is not None and found.layers
        ],
    )


def _layers_of(export: Reopened) -> LayerReport | None:
    """Those of this export: a file of another one may lie there."""
    found, manifest = read_layers(export.folder), export.manifest
    keys = ("model", "target", "precision")
    is_same = found and all(getattr(found, key) == getattr(manifest, key) for key in keys)
    return found if is_same else None


def _row(export: Reopened, images: np.ndarray, measure: bool) -> ExportResult:
    found = export.manifest
    run_ms = None
    if measure:
        require_unchanged(export)
        run_ms = run_export(export, images).ms_per_image
    return ExportResult(
        **{name: getattr(found, name) for name in ProvenResult.model_fields},
        artifact=Path(export.folder, found.files[0].name),
        size_bytes=sum(file.bytes or 0 for file in found.files),
        run_ms=run_ms,
        message=found.message,
        source_results=found.source_results,
    )


def _unlabelled(
    spec: ModelSpec,
    images: np.ndarray,
    reference: Sequence[np.ndarray],
    asked: Sequence[_Asked],
) -> tuple[list[Sample], list[AnswerLine]]:
    """The first inputs, and everybody's answers to them; none where nothing says what they mean."""
    task = get_task(spec.task)
    if spec.inputs or not spec.classes or spec.in_channels not in (1, 3):
        return [], []
    count = min(_SHOWN, len(images))

    def show(outputs: Sequence[np.ndarray], index: int) -> Answer | None:
        with reading_outputs(spec):
            return task.show(spec, [each[index : index + 1] for each in outputs], images[index])

    wanted = [show(reference, index) for index in range(count)]
    if not any(wanted):
        return [], []
    lines = [AnswerLine("PyTorch", "float32", wanted)]
    for each in asked:
        if not each.outputs:
            lines.append(_silent(each.row))
            continue
        answers = []
        for index in range(min(count, len(each.outputs[0]))):
            found = show(each.outputs, index)
            error = max(
                float(np.abs(a[index] - b[index]).max(initial=0))
                for a, b in zip(each.outputs, each.reference, strict=True)
            )
            found = found and _with_error(found, wanted[index], error)
            answers.append(found and _with_difference(found, spec, each, index, images))
        answers += [None] * (count - len(answers))
        lines.append(AnswerLine(each.row.target, each.row.precision, answers))
    samples = [
        Sample(index, image_uri(images[index], spec.color), f"input {index}")
        for index in range(count)
    ]
    return samples, lines


def _with_error(found: Answer, wanted: Answer | None, error: float) -> Answer:
    """Right, where an answer in words alone is PyTorch's."""
    right = None if found.uri or wanted is None else found.words == wanted.words
    return replace(found, right=right, error=f"max abs {error:.1e}")


def _with_difference(
    found: Answer, spec: ModelSpec, asked: _Asked, index: int, images: np.ndarray
) -> Answer:
    outputs, reference = (
        [each[index : index + 1] for each in arrays] for arrays in (asked.outputs, asked.reference)
    )
    with reading_outputs(spec):
        difference = get_task(spec.task).compare_answers(spec, outputs, reference, images[index])
    return replace(found, difference=difference)


def _have_differences(lines: Sequence[AnswerLine]) -> bool:
    return any(each and each.difference for line in lines for each in line.answers)


def _silent(row: ExportResult) -> AnswerLine:
    return AnswerLine(row.target, row.precision, [], f"no answer: {row.status}")


def _histograms(
    asked: Sequence[_Asked], targets: dict[str, Target]
) -> tuple[plots.Axis, list[plots.Histogram]]:
    return plots.error_histograms(
        [
            (
                each.row.target,
                each.row.precision,
                plots.absolute_errors(each.reference, each.outputs),
                targets[each.row.target].limits(each.row.precision).max_abs_error,
            )
            for each in asked
            if each.outputs
        ]
    )
