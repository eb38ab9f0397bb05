"""From a recipe to the script that knows its task, and the report of the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..zoo.weights import add_verdicts
from .checkpoint import atomic_path
from .config import Recipe
from .data.findings import Finding, log_findings, raise_errors
from .data.inspect import inspect_before_training
from .distributed import is_first_process
from .logs import DEFAULT_LOGS
from .progress import Progress

# Findings on the data that a result must be read with.
_LASTING = ("overlap", "near-duplicate", "two-classes", "mixed-depth", "inverted")


@dataclass(frozen=True)
class TrainingReport:
    """How a run ended; also written to ``result.json`` in its folder."""

    model: str
    seed: int
    epochs: int
    best_epoch: int
    metric: str
    val: float
    test: float | None
    n: int
    dataset: str
    weights: str
    reached: bool
    interrupted: bool
    details: dict[str, float] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    pretrained: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        test = "not measured" if self.test is None else f"{100 * self.test:.2f} %"
        details = "".join(f"; {key} {100 * value:.2f} %" for key, value in self.details.items())
        return (
            f"{self.model} seed {self.seed}: {self.metric} {test} on {self.n} test images of "
            f"{self.dataset} (validation {100 * self.val:.2f} % in epoch {self.best_epoch} of "
            f"{self.epochs}){details}; weights: {self.weights}"
        )


def _look_first(recipe: Recipe, data: Path | None) -> tuple[Finding, ...]:
    """What a look at the user's own data shows; warnings are logged.

    Raises:
        DataError: something is certainly wrong.
    """
    findings = inspect_before_training(recipe.dataset, data, recipe.ignore)
    name = recipe.dataset if data is None else data.resolve().stem
    raise_errors(name, findings)
    if is_first_process():
        log_findings(name, [finding for finding in findings if finding.severity == "warning"])
    return findings


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    weights: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    log: Sequence[str] = DEFAULT_LOGS,
) -> TrainingReport:
    """Run the recipe's script and write its result beside the weights.

    Args:
        recipe: what to train, and how.
        out: the run's folder.
        data: where the data set is.
        weights: begin with these; by default with random ones.
        resume: go on with the run that is in ``out``.
        progress: shows how it goes.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        log: where the figures of every epoch go; see :func:`edgeark.training.logs.parse_logs`.
    """
    findings = () if resume else _look_first(recipe, data)
    script = import_module(f".{recipe.script}", __package__)
    outcome = script.train(
        recipe,
        out,
        data=data,
        weights=weights,
        resume=resume,
        progress=progress,
        device=device,
        log=log,
    )
    result, test = outcome.result, outcome.test
    verdicts = [*outcome.verdicts, *(f for f in findings if f.code in _LASTING)]
    if test is not None and is_first_process():
        log_findings(recipe.model, verdicts)
        if verdicts:
            add_verdicts(result.weights, [verdict.describe() for verdict in verdicts])
    report = TrainingReport(
        model=recipe.model,
        seed=recipe.seed,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        metric=outcome.metric,
        val=result.best_metric if result.epochs else 0.0,
        test=test,
        n=outcome.n,
        dataset=recipe.dataset,
        weights=str(result.weights),
        reached=test is not None and test >= recipe.target_metric,
        interrupted=result.interrupted,
        details=outcome.details,
        verdicts=[verdict.to_dict() for verdict in verdicts],
        pretrained=None if outcome.transfer is None else asdict(outcome.transfer),
    )
    if test is not None:
        with atomic_path(out / "result.json") as path:
            path.write_text(json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n")
    return report
