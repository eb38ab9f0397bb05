"""Export a model to targets and prove each: convert, run, compare, score, write the folder."""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from torch import nn

from ..core.crash_log import describe_fault, is_debugging, is_of_ctrl_c
from ..core.scratch import scratch_folder
from ..errors import EdgearkError
from ..training.data import ImageSet
from .calibration import describe_calibration, require_known
from .check import INPUTS_RULE
from .graph.files import output_names
from .lint import LintError, check
from .prepare import EvalContext, MetricFunction
from .request import NetworkRequest
from .results.compare import Parity, compare, score
from .results.folder import LOG, keep_log, staged_folder, write_golden
from .results.manifest import write_manifest
from .results.schema import ExportResult, Metric, SourceResult, Status
from .results.tables import ResultList
from .results.verdict import Judged, describe_unrun
from .results.verdict import judge as judge_row
from .results.views import write_views
from .sources import InputOptions
from .sources.shapes import Examples, with_examples
from .targets import find_targets
from .targets.base import (
    DEFAULT_QUANTIZATION,
    FLOAT16_LIMITS,
    Conversion,
    Precision,
    Quantization,
    RunResult,
    Target,
)
from .targets.reproduce import write_reproduction
from .targets.tools import set_tools
from .tasks import get_task
from .toolchains import ToolchainError, ToolchainUnavailable
from .toolchains.parallel import map_in_order
from .verify import REPEAT_TOLERANCE

logger = logging.getLogger(__name__)

Step = Callable[[str], None]
"""Told what is being done, in a few words."""
OnRow = Callable[[ExportResult, int], None]
"""Told of a row when it is there, and how many there will be."""

FLOAT16_LIMITS_DB = FLOAT16_LIMITS.sqnr_db or 0.0
ROW_COLUMNS = {
    **{"model": "model", "target": "target", "precision": "precision", "status": "status"},
    **{"evidence": "evidence", "max_abs_error": "max abs", "sqnr_db": "SQNR dB"},
    **{"metric": "PyTorch > target", "message": "message"},
}


def silent(words: str) -> None:
    """Nobody is told."""


def export_model(
    network: str | Path | nn.Module,
    to: str | Sequence[str],
    *,
    int8: bool = False,
    out: Path | str = Path("exports"),
    example_inputs: Examples | None = None,
    inputs: InputOptions | None = None,
    images: Path | str | None = None,
    metric: MetricFunction | str | None = None,
    rewrite: bool = False,
    weights: Path | str | None = None,
    pretrained: bool = False,
    data: Path | str | None = None,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    tools: Mapping[str, Path | str] = MappingProxyType({}),
    jobs: int = 1,
    on_step: Callable[[str], None] | None = None,
) -> ResultList[ExportResult]:
    """Export to every target, in float and, if asked, int8; a failure does not stop the others.

    Args:
        network: a model of the zoo, or a network of one's own; see :func:`open_source`.
        to: names like ``onnxruntime`` or ``rknn:rk3588``, or groups like ``all``.
        int8: quantise as well, where the target can.
        out: each export goes to ``out/<model>/<target>/<precision>``.
        example_inputs: of a network of one's own: a tensor, or several in order or by name, for
            their shapes.
        inputs: its mean, std and colour; and shapes, where there is no example.
        images: a folder of samples of one's own, without labels; half of it calibrates int8, the
            other half is compared on. Without it a network of one's own is compared on noise.
        metric: the user's own metric of raw outputs, in 0..1; or ``FILE.py:FUNCTION``.
        rewrite: first replace what the targets lack by what is equal; the manifest lists it.
        weights: a weights file; by default the weights that ship.
        pretrained: load timm's or torchvision's published weights.
        data: where the data set of a model of the zoo is.
        limit: at most so many test samples, an equal share of each class.
        quantization: how int8 is made.
        tools: programs of the user's that a backend can use, by name: ``{"pplnn": path}``.
        jobs: so many exports at a time; an image's time is measured well with 1 alone.
        on_step: told what is being done.

    Raises:
        EdgearkError: unknown names, no weights, no data: before anything is written.
    """
    request = NetworkRequest(
        network,
        with_examples(inputs or InputOptions(), example_inputs, network),
        weights=_path(weights),
        pretrained=pretrained,
        images=_path(images),
        metric=metric,
        data=_path(data),
    )
    rows = export_request(
        request,
        to,
        int8=int8,
        out=Path(out),
        rewrite=rewrite,
        limit=limit,
        quantization=quantization,
        tools=tools,
        jobs=jobs,
        on_step=on_step or silent,
    )
    return ResultList(rows, ROW_COLUMNS)


def export_request(
    request: NetworkRequest,
    to: str | Sequence[str],
    *,
    out: Path,
    int8: bool = False,
    rewrite: bool = False,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
    tools: Mapping[str, Path | str] = MappingProxyType({}),
    jobs: int = 1,
    on_step: Step = silent,
    on_row: OnRow | None = None,
    on_done: Callable[[EvalContext, list[ExportResult]], None] | None = None,
) -> list[ExportResult]:
    """:func:`export_model` of what a command was given; ``on_done`` gets what a report needs."""
    on_step(f"{request.title}: reading the network")
    names = to if isinstance(to, str) else ",".join(to)
    chosen = find_targets(names, request.fits)
    require_known(quantization, chosen)
    set_tools(chosen, tools)
    if int8:
        announce_float_only(chosen)
    with scratch_folder("graph") as scratch:
        on_step(f"{request.title}: asking PyTorch for the answers to compare with")
        context = request.prepare(
            Path(scratch),
            limit=limit,
            quantization=quantization,
            rewrite_for=chosen if rewrite else (),
        )
        told = {"on_step": on_step, "on_row": on_row}
        rows = export_all(context, chosen, out, int8=int8, jobs=jobs, **told)
        if on_done:
            on_done(context, rows)
        return rows


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)


def announce_float_only(targets: Sequence[Target]) -> None:
    """Say on which targets there is no int8 to be had, and why where they know."""
    for target in targets:
        if "int8" not in target.supported_precisions():
            reason = f" ({target.no_int8})" if target.no_int8 else ""
            logger.info("no int8 on %s%s: float only", target.full_name, reason)


def export_all(
    context: EvalContext,
    targets: Sequence[Target],
    out: Path,
    *,
    int8: bool = False,
    jobs: int = 1,
    on_step: Step | None = None,
    on_row: OnRow | None = None,
) -> list[ExportResult]:
    """One row for every target and precision; a failure does not stop the others.

    Args:
        context: the network and the samples.
        targets: places to export to.
        out: each export goes to ``out/<model>/<target>/<precision>``.
        int8: quantise as well, where the target can.
        jobs: so many exports at a time.
        on_step: told what is being done.
        on_row: told of each row when it is there, and how many there will be.
    """

    def export(planned: tuple[Target, Precision]) -> ExportResult:
        row = export_one(context, *planned, out, on_step=on_step or silent)
        if on_row:
            on_row(row, len(plan))
        return row

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


def export_one(
    context: EvalContext,
    target: Target,
    precision: Precision,
    out: Path,
    *,
    obey_rules: bool = True,
    on_step: Step = silent,
) -> ExportResult:
    """One row; whatever the toolchain does, it ends in a row.

    Without ``obey_rules`` the engine is asked about what the linter refuses.
    """

    def tell(doing: str) -> None:
        on_step(f"{context.name} to {target.full_name} {precision}: {doing}")

    final = out / context.name / target.folder_name / precision
    row = ExportResult(
        model=context.name, target=target.full_name, precision=precision, status="error"
    )
    try:
        with staged_folder(final) as folder:
            try:
                return _prove(context, target, row, folder, final, obey_rules, tell)
            except Exception as error:
                if is_of_ctrl_c(error):
                    raise KeyboardInterrupt from error
                if is_debugging() and not isinstance(error, EdgearkError):
                    raise
                said = str(error) if isinstance(error, EdgearkError) else describe_fault(error)
                log = keep_log(folder / LOG, f"{row.model}-{row.target}-{row.precision}")
                message = said if log is None else _renamed(said, folder / LOG, log)
                raise ToolchainError(message, log=log) from error
    except ToolchainError as error:
        unavailable = isinstance(error.__cause__, ToolchainUnavailable)
        status: Status = "unavailable" if unavailable else "error"
        return row.replace(status=status, message=str(error), log=error.log)
    except OSError as error:  # the folder itself: read-only, or the disk is full
        if error.errno in (errno.ENOTDIR, errno.EEXIST):  # it is a file: a slip of the user's
            raise
        return row.replace(message=f"cannot write {final}: {error.strerror or error}")


def _renamed(said: str, log: Path, kept: Path) -> str:
    return said.replace(str(log.resolve()), str(kept))


def _prove(
    context: EvalContext,
    target: Target,
    row: ExportResult,
    folder: Path,
    final: Path,
    obey_rules: bool,
    tell: Step,
) -> ExportResult:
    folder, log = folder.resolve(), (folder / LOG).resolve()
    log.touch()
    tell("checking")
    if obey_rules:
        refuse_what_cannot_be(context, target, row.precision)
    for toolchain in target.toolchains():
        tell(f"looking for {toolchain.name}")
        toolchain.ensure()  # installing it is no part of a conversion
    start, graph_seconds = time.perf_counter(), context.graph.seconds
    calibration = context.calibration if row.precision == "int8" else None
    images = None if calibration is None else calibration.images
    job = Conversion(context.graph, row.precision, folder, log, images, context.quantization)
    tell("converting")
    artifact = target.convert(job)
    if target.board is not None:
        write_views(artifact.path, context.spec, [o.shape for o in context.reference])
    convert_s = time.perf_counter() - start - (context.graph.seconds - graph_seconds)

    test = context.test.head(target.max_images(artifact))
    reference = [o[: len(test)] for o in context.reference]
    tell(f"running {len(test)} samples")
    result = target.run(artifact, test.images, log)
    tell("comparing")
    judge = functools.partial(_judge, context, test, reference)
    parity, metric = judge(result) if result else (None, None)
    sources = {
        name: judge(answer) for name, answer in target.run_sources(artifact, test.images).items()
    }
    source_limits = target.source_limits(row.precision)
    judged = [Judged(source_limits, *found) for found in sources.values()]
    if parity:
        judged.append(Judged(target.limits(row.precision), parity, metric))
    is_short = any(one.parity.sqnr_db < FLOAT16_LIMITS_DB for one in judged)
    half_db = context.half_db if is_short and row.precision == "float16" else None
    status, missed = judge_row(
        judged,
        precision=row.precision,
        half_db=half_db,
        foreign=context.is_proxy_dataset,
        drop_factor=get_task(context.spec.task).metric_drop_factor,
    )
    if fatal := [diagnostic.words for diagnostic in artifact.diagnostics if diagnostic.fatal]:
        status, missed = "failed", missed + fatal
    notes = missed + [
        diagnostic.words for diagnostic in artifact.diagnostics if not diagnostic.fatal
    ]
    evidence = target.evidence_of(artifact, result)
    source_results = tuple(
        SourceResult(
            file=name,
            max_abs_error=parity.max_abs_error,
            sqnr_db=parity.sqnr_db,
            peak=parity.peak,
            metric=metric,
        )
        for name, (parity, metric) in sources.items()
    )
    row = row.replace(
        status=status,
        evidence=evidence.value + context.provenance,
        message="; ".join(notes)
        or ("" if result else describe_unrun(target.full_name, evidence, source_results)),
        max_abs_error=parity and parity.max_abs_error,
        sqnr_db=parity and parity.sqnr_db,
        metric=metric,
        placement=target.placement(artifact),
        calibration=None if calibration is None else describe_calibration(calibration, artifact),
        size_bytes=artifact.size_bytes,
        convert_s=convert_s,
        run_ms=result and result.ms_per_image,
        source_results=source_results,
        outputs=result.outputs if result else [],
        artifact=final / artifact.files[0],
        log=final / LOG,
    )
    write_reproduction(target, job, artifact, context.name, REPEAT_TOLERANCE[row.precision])
    write_golden(folder, test.images, row.outputs, reference)
    names = output_names(context.graph.model, len(reference))
    write_manifest(
        *(folder, context.spec, target, artifact, reference, row),
        rewrites=context.rewrites,
        names=names,
        training_verdicts=context.training_verdicts,
    )
    return row


def _judge(
    context: EvalContext, test: ImageSet, reference: list[np.ndarray], result: RunResult
) -> tuple[Parity, Metric | None]:
    parity = compare(reference, result.outputs)
    figures = context.measure(result.outputs, test)
    return parity, score(context.spec, context.figures(len(test)), figures, test)


def refuse_what_cannot_be(context: EvalContext, target: Target, precision: Precision) -> None:
    """Raise for the linter's errors, before a converter crashes or silently computes otherwise."""
    if reason := target.refuse_inputs(context.spec, precision):
        raise LintError(f"{reason} [{INPUTS_RULE}]")
    rules = [rule for rule in target.rules() if rule.holds_in(precision)]
    findings = check(context.graph.network, rules, target.full_name) if rules else []
    for finding in findings:
        if finding.severity == "warning":
            logger.warning("%s to %s: %s", context.name, target.full_name, finding.describe())
    errors = [finding.describe() for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: edgeark check)" if errors[1:] else ""
        raise LintError(errors[0] + more)
