"""Export a model to targets and prove each: convert, run, compare, score, write the folder."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from ..errors import DataError, EdgearkError
from ..training.data import Frame, ImageSet, load_images
from ..zoo.registry import ModelSpec, create_model, name_of, spec_of
from .bundle import LOG, staged_folder, write_golden, write_manifest
from .graph import Graph
from .lint import LintError, check
from .target import (
    DEFAULT_QUANTIZATION,
    Artifact,
    Conversion,
    Placement,
    Precision,
    Quantization,
    Target,
)
from .targets import find_targets
from .toolchains import ToolchainError, ToolchainUnavailable
from .toolchains.environment import log_folder
from .verify import Metric, Parity, compare, score, shortfalls

logger = logging.getLogger(__name__)

Status = Literal["ok", "failed", "error", "unavailable"]


@dataclass(frozen=True)
class Row:
    """One model on one target at one precision, and what was found.

    ``status``: ``ok``; ``failed`` (it runs, but misses a limit, or the chip would refuse it);
    ``error`` (the toolchain failed); ``unavailable`` (the toolchain cannot be had on this machine).
    ``message`` says why, and warns of what the simulator does not show.
    ``evidence`` is None where nothing was proven. ``calibration`` says how int8 was made.
    """

    model: str
    target: str
    precision: Precision
    status: Status
    evidence: str | None = None
    parity: Parity | None = None
    metric: Metric | None = None
    placement: Placement | None = None
    calibration: dict[str, Any] | None = None
    artifact: Path | None = None
    size_bytes: int | None = None
    convert_s: float | None = None
    run_ms: float | None = None
    log: Path | None = None
    message: str = ""
    outputs: list[np.ndarray] = field(default_factory=list, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, in the order of the command line's contract."""
        return {
            "model": self.model,
            "target": self.target,
            "precision": self.precision,
            "status": self.status,
            "evidence": self.evidence,
            "max_abs_error": self.parity and self.parity.max_abs_error,
            "sqnr_db": self.parity and self.parity.sqnr_db,
            "metric": self.metric and asdict(self.metric),
            "placement": self.placement and self.placement.summary(),
            "calibration": self.calibration,
            "artifact": self.artifact and str(self.artifact),
            "size_bytes": self.size_bytes,
            "convert_s": self.convert_s,
            "run_ms": self.run_ms,
            "log": self.log and str(self.log),
            "message": self.message,
        }


@dataclass(frozen=True)
class Subject:
    """A model ready for export, with the pictures that prove it and PyTorch's answers to them."""

    name: str
    spec: ModelSpec
    graph: Graph
    test: ImageSet
    reference: list[np.ndarray]
    read_calibration: Callable[[], ImageSet]
    quantization: Quantization = DEFAULT_QUANTIZATION
    is_foreign: bool = False  # the pictures stand in for those of the data set it was trained on

    @functools.cached_property
    def calibration(self) -> ImageSet:
        """Training pictures to choose int8 ranges by; read when the first target asks for them."""
        return self.read_calibration()


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
    on_step: Callable[[str], None] | None = None,
) -> list[Row]:
    """Export to every target, in float and, if asked, int8; a failure does not stop the others.

    Args:
        model: a name of the zoo, or a model of :func:`create_model`.
        targets: names like ``onnxruntime`` or ``rknn:rk3588``.
        int8: quantise as well, where the target can.
        out: each export goes to ``out/<model>/<target>/<precision>``.
        weights: a safetensors file; by default the weights that ship.
        data: where the data set is.
        limit: at most so many test pictures.
        quantization: how int8 is made.
        on_step: told what is being done.

    Raises:
        EdgearkError: unknown names, no weights, no data: before anything is written.
    """
    chosen = find_targets(",".join(targets))
    require_known(quantization, chosen)
    lacking = [t.full_name for t in chosen if int8 and "int8" not in t.supported_precisions()]
    if lacking:
        logger.info("no int8 on %s: float only", ", ".join(lacking))
    with tempfile.TemporaryDirectory(prefix="edgeark-graph-") as scratch:
        subject = prepare(
            model,
            Path(scratch),
            weights=weights,
            data=data,
            limit=limit,
            quantization=quantization,
        )
        return export_all(subject, chosen, Path(out), int8=int8, on_step=on_step)


def require_known(quantization: Quantization, targets: Sequence[Target]) -> None:
    """Every target knows the algorithm, and can mix precisions where that is asked for.

    Raises:
        EdgearkError: the first that does not.
    """
    for target in targets:
        wanted, known = quantization.algorithm, target.algorithms
        if wanted is not None and wanted not in known:
            there = f"it knows {', '.join(known)}" if known else "it has no choice"
            raise EdgearkError(f"{target.full_name} has no calibration {wanted!r}; {there}")
        if quantization.mixed and not target.can_mix():
            raise EdgearkError(f"{target.full_name} cannot mix int8 with wider layers")


def export_all(
    subject: Subject,
    targets: Sequence[Target],
    out: Path,
    *,
    int8: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> list[Row]:
    """One row for every target and precision; a failure does not stop the others."""
    rows = []
    for target in targets:
        for precision in planned_precisions(target, int8):
            if on_step:
                on_step(f"{subject.name} to {target.full_name} {precision}")
            rows.append(export_one(subject, target, precision, out))
    return rows


def planned_precisions(target: Target, int8: bool) -> list[Precision]:
    """The precisions to export: all floats, and int8 when asked for or when there is no other."""
    supported = target.supported_precisions()
    wanted: list[Precision] = [
        p for p in supported if p != "int8" or int8 or supported == ("int8",)
    ]
    return wanted


def prepare(
    model: str | nn.Module,
    folder: Path,
    *,
    weights: Path | None = None,
    data: Path | None = None,
    limit: int | None = None,
    quantization: Quantization = DEFAULT_QUANTIZATION,
) -> Subject:
    """Load the model and its data set, and ask PyTorch for the answers to compare with."""
    if isinstance(model, str):
        model = create_model(model, pretrained=True, weights=weights)
    spec, name = spec_of(model), name_of(model)
    shape = spec.input_shape[1:]
    dataset, test = load_test_pictures(spec, data)
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
    is_foreign = dataset != spec.dataset
    return Subject(name, spec, graph, test, reference, sample, quantization, is_foreign)


def load_test_pictures(spec: ModelSpec, data: Path | None) -> tuple[str, ImageSet]:
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
    if target.toolchain is not None:
        target.toolchain.ensure()  # installing it is no part of a conversion
    start, graph_seconds = time.perf_counter(), subject.graph.seconds
    calibration = subject.calibration if row.precision == "int8" else None
    pictures = calibration and calibration.images
    job = Conversion(subject.graph, row.precision, folder, log, pictures, subject.quantization)
    artifact = target.convert(job)
    convert_s = time.perf_counter() - start - (subject.graph.seconds - graph_seconds)

    test = subject.test.head(target.max_images(artifact))
    reference = [o[: len(test)] for o in subject.reference]
    result = target.run(artifact, test.images, log)
    parity = compare(reference, result.outputs)
    metric = score(subject.spec, reference, result.outputs, test.labels, test.name)
    missed = shortfalls(target.limits(row.precision), parity, metric, subject.is_foreign)
    missed += [concern.words for concern in artifact.concerns if concern.fatal]
    warnings = [concern.words for concern in artifact.concerns if not concern.fatal]
    row = replace(
        row,
        status="failed" if missed else "ok",
        evidence=target.evidence.value,
        message="; ".join(missed + warnings),
        parity=parity,
        metric=metric,
        placement=target.placement(artifact),
        calibration=calibration and _describe_calibration(calibration, artifact),
        size_bytes=artifact.size_bytes,
        convert_s=convert_s,
        run_ms=result.ms_per_image,
        outputs=result.outputs,
        artifact=final / artifact.files[0],
        log=final / LOG,
    )
    write_golden(folder, test.images, result.outputs, reference)
    _write_manifest(subject, target, artifact, row, folder)
    return row


def _describe_calibration(pictures: ImageSet, artifact: Artifact) -> dict[str, Any]:
    """Where the ranges come from; an algorithm and wide layers where the target has a choice."""
    return {
        "dataset": pictures.name,
        "split": pictures.split,
        "count": len(pictures),
        "choice": "at random, the same ones every time",
        "algorithm": artifact.settings.get("algorithm"),
        "wide_layers": artifact.settings.get("wide_modules", []),
    }


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
    subject: Subject, target: Target, artifact: Artifact, row: Row, folder: Path
) -> None:
    found = row.to_dict()
    measured = ("status", "evidence", "max_abs_error", "sqnr_db", "metric", "placement")
    results = {key: found[key] for key in (*measured, "calibration", "message")}
    write_manifest(folder, subject.name, subject.spec, target, artifact, row.outputs, results)


def _keep_log(log: Path, row: Row) -> Path:
    """Save the log of a failed export from its folder, which will not be."""
    name = f"export-{row.model}-{row.target.replace(':', '-')}-{row.precision}.log"
    kept = log_folder() / name
    if log.exists():
        shutil.copyfile(log, kept)
    else:
        kept.touch()
    return kept
