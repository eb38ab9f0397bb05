"""One network in a process of its own: ask the rules, then the engines, and report each answer.

    python -m edgeark.export.conformance.ask < JOB

The job is pickled by :mod:`.measure`, which started this process; each answer is a line of JSON on
stdout. Whatever an engine does to the process is the answer of that one cell.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.scratch import scratch_folder
from ...errors import DataError, EdgearkError, SourceError
from ..check import INPUTS_RULE, check_source
from ..lint.rule import Finding
from ..pipeline import export_one
from ..prepare import EvalContext
from ..request import NetworkRequest
from ..results.schema import ExportResult
from ..targets import find_target
from ..targets.base import Precision, Target
from .records import Predicted, Prediction, Real
from .requests import Form, Place
from .settle import settle

_LONGEST = 240  # characters of a cause

Say = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """What this process is asked.

    Args:
        request: the network.
        places: to predict for.
        cells: to convert and run, of these.
        limit: at most so many test samples.
        form: of the file that is written of the network and asked about in its place.
    """

    request: NetworkRequest
    places: Sequence[Place]
    cells: Sequence[Place]
    limit: int | None = None
    form: Form = ""


def answer(job: Job, say: Say) -> None:
    """Say ``unopened``; or ``predicted``, and for each cell ``begun`` and ``done``."""
    import torch

    torch.manual_seed(0)
    with scratch_folder("conformance") as folder:
        _answer(job, folder, say)


def _answer(job: Job, folder: Path, say: Say) -> None:
    try:
        source = job.request.source
        if not job.request.is_measured and job.request.weights is None:
            settle(source)
        if job.form:
            job = replace(job, request=_write_onnx(job.request, folder))
            source = job.request.source
        targets = [find_target(name) for name in dict.fromkeys(name for name, _ in job.places)]
        findings = check_source(source, targets)
    except EdgearkError as error:
        return say(event="unopened", cause=shorten(str(error)))
    predicted = [_predict(find_target(name), p, findings).to_dict() for name, p in job.places]
    say(event="predicted", predictions=predicted)
    if job.cells:
        _ask_engines(job, folder, say)
    return None


def _write_onnx(request: NetworkRequest, folder: Path) -> NetworkRequest:
    """The network as the ONNX file that ``torch.onnx.export`` makes of it by default.

    Raises:
        SourceError: it cannot.
    """
    import torch

    source = request.source
    spec, path = source.spec, folder / f"{source.name}.onnx"
    examples = tuple(torch.zeros(shape) for shape in spec.input_shapes)
    try:
        torch.onnx.export(source.original, examples, path, verbose=False)
    except Exception as error:
        raise SourceError(f"torch.onnx.export: {error}") from error
    inputs = replace(request.inputs, shapes=None)
    if not spec.inputs:
        inputs = replace(inputs, mean=spec.mean, std=spec.std, color=spec.color)
    return replace(request, network=path, inputs=inputs, weights=None, pretrained=False)


def _ask_engines(job: Job, folder: Path, say: Say) -> None:
    try:
        context = job.request.prepare(folder, limit=job.limit)
    except DataError as error:
        return say(event="unopened", cause=shorten(str(error)))
    except EdgearkError as error:
        for target, precision in job.cells:
            say(event="begun", target=target, precision=precision)
            say(event="done", real="refused", cause=shorten(str(error)))
        return None
    for name, precision in job.cells:
        say(event="begun", target=name, precision=precision)
        say(event="done", **_ask(context, find_target(name), precision, folder / "exports"))
    return None


def _ask(context: EvalContext, target: Target, precision: Precision, out: Path) -> dict[str, Any]:
    if reason := target.refuse_inputs(context.spec, precision):
        return {"real": "refused", "cause": f"{shorten(reason)} [{INPUTS_RULE}]"}
    row = export_one(context, target, precision, out, obey_rules=False)
    shutil.rmtree(out, ignore_errors=True)
    return _what_happened(row)


def _what_happened(row: ExportResult) -> dict[str, Any]:
    real: Real = row.status
    placement = row.placement
    return {
        "real": real,
        "evidence": row.evidence,
        "sqnr_db": row.sqnr_db,
        "cpu_ops": placement and list(dict.fromkeys(map(_kind, placement.cpu_ops))),
        "cause": "" if real == "ok" else shorten(row.message),
    }


def _kind(cpu_op: str) -> str:
    """``Reshape`` of ``Reshape (head/Reshape_2)``."""
    return cpu_op.partition(" (")[0]


def _predict(target: Target, precision: Precision, findings: Sequence[Finding]) -> Prediction:
    """What the findings of a target come to in a precision."""
    others = {rule.name for rule in target.rules() if not rule.holds_in(precision)}
    own = [f for f in findings if f.target == target.full_name and f.rule not in others]
    falling = {rule.name for rule in target.rules() if rule.falls_back}
    errors = dict.fromkeys(f.rule for f in own if f.severity == "error")
    warnings = dict.fromkeys(f.rule for f in own if f.severity == "warning" and f.rule in falling)
    predicted: Predicted = "error" if errors else "falls back" if warnings else "fits"
    return Prediction(
        predicted=predicted, error_rules=tuple(errors), fallback_rules=tuple(warnings)
    )


def shorten(message: str) -> str:
    """One line without the paths of this machine."""
    text = re.sub(r";? log: \S+", "", " ".join(message.split()))
    text = re.sub(r"(?<![\w.])/(?:[\w.+@=~-]+/)+", "", text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def main() -> None:
    job = pickle.load(sys.stdin.buffer)  # of the process that started this one, through a pipe
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print; the answers go alone

    def say(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    answer(job, say)
    channel.close()
    sys.stdout.flush()
    os._exit(0)  # an engine that dies in its destructors has answered already


if __name__ == "__main__":
    main()
