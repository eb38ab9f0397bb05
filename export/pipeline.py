"""Export a model to targets and prove each: convert, run, compare, score, write the folder."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from ..errors import EdgearkError
from ..training.data import ImageSet
from ..zoo.registry import model_entry, spec_of
from .bundle import LOG, staged_folder, write_golden, write_manifest
from .lint import LintError, check
from .parallel import map_in_order
from .quantization import (
    DEFAULT_QUANTIZATION,
    Quantization,
    describe_calibration,
    require_known,
)
from .row import Row, SourceResult, Status
from .subject import Subject, prepare
from .target import (
    Artifact,
    Conversion,
    Evidence,
    Precision,
    RunResult,
    Target,
)
from .targets import find_targets
from .toolchains import ToolchainError, ToolchainUnavailable
from .toolchains.environment import log_folder
from .toolchains.process import find_modules
from .verify import Metric, Parity, compare, score, shortfalls, task_figures

logger = logging.getLogger(__name__)


def export_model(
    model: str | nn.Module,
    targets: Sequence[str],
    *,
    int8: bool = False,
    out: Path = Path("exports"),
    weights: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    toolkit_python: Path | None = None,
    pplnn: Path | None = None,
    jobs: int = 1,
    on_step: Callable[[str], None] | None = None,
) -> list[Row]:
    """Export to every target, in float and, if asked, int8; a failure does not stop the others.

    Args:
        model: a name of the zoo, or a model of :func:`create_model`.
        targets: names like ``onnxruntime`` or ``rknn:rk3588``, or groups like ``all``.
        int8: quantise as well, where the target can.
        out: each export goes to ``out/<model>/<target>/<precision>``.
        weights: a safetensors file; by default the weights that ship.
        data: where the data set is.
        limit: at most so many test pictures.
        quantization: how int8 is made.
        toolkit_python: a Python that has the toolkit of those targets which edgeark cannot install.
        pplnn: a ``pplnn`` program, which runs the exports to it; by default the one on PATH.
        jobs: so many exports at a time; a picture's time is measured well with 1 alone.
        on_step: told what is being done.

    Raises:
        EdgearkError: unknown names, no weights, no data: before anything is written.
    """
    spec = model_entry(model).spec if isinstance(model, str) else spec_of(model)
    chosen = find_targets(",".join(targets), spec.targets)
    require_known(quantization, chosen)
    if toolkit_python is not None:
        give_python(chosen, toolkit_python)
    if pplnn is not None:
        give_program(chosen, pplnn)
    if int8:
        announce_float_only(chosen)
    with tempfile.TemporaryDirectory(prefix="edgeark-graph-") as scratch:
        subject = prepare(
            model,
            Path(scratch),
            weights=weights,
            data=data,
            limit=limit,
            quantization=quantization,
        )
        return export_all(subject, chosen, Path(out), int8=int8, jobs=jobs, on_step=on_step)


def announce_float_only(targets: Sequence[Target]) -> None:
    """Say on which targets there is no int8 to be had, and why where they know."""
    for target in targets:
        if "int8" not in target.supported_precisions():
            reason = f" ({target.no_int8})" if target.no_int8 else ""
            logger.info("no int8 on %s%s: float only", target.full_name, reason)


def give_python(targets: Sequence[Target], python: Path) -> None:
    """Tell the targets whose toolkit that Python has; of the others, say that they go without.

    Raises:
        EdgearkError: none of them takes one, there is no such program, or it has no toolkit of any.
    """
    takers = [target for target in targets if target.python_module]
    if not takers:
        names = ", ".join(target.full_name for target in targets)
        raise EdgearkError(f"--toolkit-python is for rknn1 and tensorrt alone; {names} needs none")
    _require_program("--toolkit-python", python)
    python = python.absolute()  # not resolved: a link is how a venv is entered
    wanted = {target.python_module for target in takers}
    lacking = wanted - find_modules(python, sorted(wanted))
    if lacking == wanted:
        names = " and no ".join(sorted(lacking))
        raise EdgearkError(f"--toolkit-python {python} has no {names}: name a Python that has")
    for target in takers:
        if target.python_module in lacking:
            words = "%s goes without --toolkit-python: %s has no %s"
            logger.info(words, target.full_name, python, target.python_module)
        else:
            target.toolkit_python = python


def give_program(targets: Sequence[Target], program: Path) -> None:
    """Tell the targets whose runtime is a program of the user's where it is.

    Raises:
        EdgearkError: none of them has one, or there is no such program.
    """
    takers = [target for target in targets if target.program]
    if not takers:
        names = ", ".join(target.full_name for target in targets)
        raise EdgearkError(f"--pplnn is for pplnn alone; {names} needs none")
    _require_program("--pplnn", program)
    for target in takers:
        target.program_path = program.absolute()


def _require_program(option: str, path: Path) -> None:
    if not os.access(path, os.X_OK) or path.is_dir():
        raise EdgearkError(f"{option} {path}: there is no such program")


def export_all(
    subject: Subject,
    targets: Sequence[Target],
    out: Path,
    *,
    int8: bool = False,
    jobs: int = 1,
    on_step: Callable[[str], None] | None = None,
) -> list[Row]:
    """One row for every target and precision; a failure does not stop the others."""

    def export(planned: tuple[Target, Precision]) -> Row:
        target, precision = planned
        if on_step:
            on_step(f"{subject.name} to {target.full_name} {precision}")
        return export_one(subject, target, precision, out)

    plan: list[tuple[Target, Precision]] = [
        (target, each) for target in targets for each in planned_precisions(target, int8)
    ]
    return map_in_order(export, plan, jobs)


def planned_precisions(target: Target, int8: bool) -> list[Precision]:
    """The precisions to export: all floats, and int8 when asked for or when there is no other."""
    supported = target.supported_precisions()
    wanted: list[Precision] = [
        p for p in supported if p != "int8" or int8 or supported == ("int8",)
    ]
    return wanted


def export_one(subject: Subject, target: Target, precision: Precision, out: Path) -> Row:
    """One row; whatever the toolchain does, it ends in a row."""
    final = out / subject.name / target.folder_name / precision
    row = Row(subject.name, target.full_name, precision, "error")
    try:
        with staged_folder(final) as folder:
            try:
                return _prove(subject, target, row, folder, final)
            except EdgearkError as error:
                log = _keep_log(folder / LOG, row)
                message = str(error).replace(str((folder / LOG).resolve()), str(log))
                raise ToolchainError(message, log=log) from error
    except ToolchainError as error:
        unavailable = isinstance(error.__cause__, ToolchainUnavailable)
        status: Status = "unavailable" if unavailable else "error"
        return replace(row, status=status, message=str(error), log=error.log)


def _prove(subject: Subject, target: Target, row: Row, folder: Path, final: Path) -> Row:
    folder, log = folder.resolve(), (folder / LOG).resolve()
    log.touch()
    _refuse_what_cannot_be(subject, target)
    for toolchain in target.toolchains():
        toolchain.ensure()  # installing it is no part of a conversion
    start, graph_seconds = time.perf_counter(), subject.graph.seconds
    calibration = subject.calibration if row.precision == "int8" else None
    pictures = None if calibration is None else calibration.images
    job = Conversion(subject.graph, row.precision, folder, log, pictures, subject.quantization)
    artifact = target.convert(job)
    convert_s = time.perf_counter() - start - (subject.graph.seconds - graph_seconds)

    test = subject.test.head(target.max_images(artifact))
    reference = [o[: len(test)] for o in subject.reference]
    result = target.run(artifact, test.images, log)
    judge = functools.partial(_judge, subject, test, reference)
    parity, metric = judge(result) if result else (None, None)
    sources = tuple(
        SourceResult(name, *judge(answer))
        for name, answer in target.run_sources(artifact, test.images).items()
    )
    source_limits = target.source_limits(row.precision)
    judged = [(source_limits, source.parity, source.metric) for source in sources]
    if parity and metric:
        judged.append((target.limits(row.precision), parity, metric))
    missed = [words for each in judged for words in shortfalls(*each, subject.is_foreign)]
    missed += [concern.words for concern in artifact.concerns if concern.fatal]
    notes = missed + [concern.words for concern in artifact.concerns if not concern.fatal]
    evidence = target.evidence_of(artifact, result)
    row = replace(
        row,
        status="failed" if missed else "ok",
        evidence=evidence.value,
        message="; ".join(notes) or ("" if result else _unrun(target, evidence, sources)),
        parity=parity,
        metric=metric,
        placement=target.placement(artifact),
        calibration=None if calibration is None else describe_calibration(calibration, artifact),
        size_bytes=artifact.size_bytes,
        convert_s=convert_s,
        run_ms=result and result.ms_per_image,
        sources=sources,
        outputs=result.outputs if result else [],
        artifact=final / artifact.files[0],
        log=final / LOG,
    )
    write_golden(folder, test.images, row.outputs, reference)
    _write_manifest(subject, target, artifact, row, reference, folder)
    return row


def _judge(
    subject: Subject, test: ImageSet, reference: list[np.ndarray], result: RunResult
) -> tuple[Parity, Metric]:
    parity = compare(reference, result.outputs)
    figures = task_figures(subject.spec, result.outputs, test)
    return parity, score(subject.spec, subject.figures(len(test)), figures, test)


def _unrun(target: Target, evidence: Evidence, sources: Sequence[SourceResult]) -> str:
    """What a row is worth that has no figures of its own."""
    files = " and ".join(source.file for source in sources)
    worst = max(source.parity.max_abs_error for source in sources)
    return (
        f"{evidence.value}: no runtime or simulator of {target.full_name} has run it; "
        f"on a CPU {files} {'is' if len(sources) == 1 else 'are'} within {worst:.1e} of PyTorch"
    )


def _refuse_what_cannot_be(subject: Subject, target: Target) -> None:
    """Raise for the linter's errors, before a converter crashes or silently computes otherwise."""
    rules = target.rules()
    findings = check(subject.graph.network, rules, target.full_name) if rules else []
    for finding in findings:
        if finding.severity == "warning":
            logger.warning("%s to %s: %s", subject.name, target.full_name, finding.describe())
    errors = [finding.describe() for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: edgeark check)" if errors[1:] else ""
        raise LintError(errors[0] + more)


def _write_manifest(
    subject: Subject,
    target: Target,
    artifact: Artifact,
    row: Row,
    reference: Sequence[np.ndarray],
    folder: Path,
) -> None:
    found = row.to_dict()
    measured = ["status", "evidence", "max_abs_error", "sqnr_db", "metric", "placement"]
    measured += ["calibration", "message"]
    if row.sources:
        measured.append("source_results")
    results = {key: found[key] for key in measured}
    write_manifest(folder, subject.name, subject.spec, target, artifact, reference, results)


def _keep_log(log: Path, row: Row) -> Path:
    """Save the log of a failed export from its folder, which will not be."""
    name = f"export-{row.model}-{row.target.replace(':', '-')}-{row.precision}.log"
    kept = log_folder() / name
    if log.exists():
        shutil.copyfile(log, kept)
    else:
        kept.touch()
    return kept
