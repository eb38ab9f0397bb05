"""From a recipe to the script that knows its task, and the report of the run."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .checkpoint import atomic_path
from .config import Recipe
from .distributed import is_first_process
from .progress import Progress


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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        test = "not measured" if self.test is None else f"{100 * self.test:.2f} %"
        return (
            f"{self.model} seed {self.seed}: {self.metric} {test} on {self.n} test pictures of "
            f"{self.dataset} (validation {100 * self.val:.2f} % in epoch {self.best_epoch} of "
            f"{self.epochs}); weights: {self.weights}"
        )


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainingReport:
    """Run the recipe's script and write its result beside the weights."""
    script = import_module(f".{recipe.script}", __package__)
    result, test, n = script.train(recipe, out, data=data, resume=resume, progress=progress)
    known = not math.isnan(test)
    report = TrainingReport(
        model=recipe.model,
        seed=recipe.seed,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        metric="top1",
        val=result.best_metric if known else 0.0,
        test=test if known else None,
        n=n,
        dataset=recipe.dataset,
        weights=str(result.weights),
        reached=known and test >= recipe.target_metric,
        interrupted=result.interrupted,
    )
    if known and is_first_process():
        with atomic_path(out / "result.json") as path:
            path.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    return report
