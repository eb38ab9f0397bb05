"""Several trainings: recipes by seeds, one after another here, or each on a worker of a cluster."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.crash_log import is_of_ctrl_c
from ..core.tasks import Lost, Runner
from ..errors import EdgearkError
from .config import Recipe
from .progress import Progress
from .scripts import TrainingReport, train


@dataclass(frozen=True)
class Job:
    """One training; it can be sent to another process.

    Args:
        name: of the recipe, as the user calls it.
        recipe: what to train, and how.
        out: the run's folder.
        data, weights, device, log: as for :func:`.scripts.train`.
        resume: go on where there is a checkpoint in ``out``, and begin where there is none.
        is_shown: whether its progress goes to stderr.
    """

    name: str
    recipe: Recipe
    out: Path
    data: Path | None = None
    weights: Path | None = None
    resume: bool = False
    device: str = "auto"
    log: tuple[str, ...] = ()
    is_shown: bool = True

    @property
    def title(self) -> str:
        return f"{self.name} seed {self.recipe.seed}"


@dataclass(frozen=True)
class Ended:
    """How one ended: by a report, or a ``fault`` in one line."""

    job: Job
    report: TrainingReport | None = None
    fault: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report, with the recipe's name and the folder."""
        fields = {} if self.report is None else self.report.to_dict()
        return {"recipe": self.job.name, "folder": str(self.job.out), **fields}


OnEnd = Callable[[Ended, int], None]
"""Told of each training when it has ended, and how many there are."""


@dataclass
class Several:
    """How all ended.

    Args:
        ended: those that have a report, in the order in which they were named.
        faults: why others could not run, a line each.
        lost: those whose workers died, a line each.
        interrupted: by Ctrl-C.
    """

    ended: list[Ended] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def complete(self) -> list[Ended]:
        return [each for each in self.ended if each.report and not each.report.interrupted]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a recipe's figures over its seeds; of one seed it is None."""

    name: str
    seeds: int
    val: tuple[float, float | None]
    test: tuple[float, float | None]


def run_job(job: Job) -> Ended:
    """Train; what is wrong with what the user gave ends in a fault."""
    try:
        report = train(
            job.recipe,
            job.out,
            data=job.data,
            weights=job.weights,
            resume=job.resume and (job.out / "last.ckpt").exists(),
            progress=Progress(enabled=job.is_shown),
            device=job.device,
            log=job.log,
        )
    except EdgearkError as error:
        return Ended(job, fault=f"{job.title}: {error}")
    return Ended(job, report)


def require_folders(jobs: Sequence[Job]) -> None:
    """Each training has a folder to itself.

    Raises:
        EdgearkError: two have one, or there is a training in one, and it is not to be resumed.
    """
    known: dict[Path, Job] = {}
    for job in jobs:
        if other := known.get(job.out):
            both = job.title if other.title == job.title else f"{other.title} and {job.title}"
            raise EdgearkError(f"{both}: each training needs a folder, and {job.out} is both's")
        known[job.out] = job
        if not job.resume and (job.out / "last.ckpt").exists():
            raise EdgearkError(
                f"{job.out} holds a training already; go on with --resume, or name another --out"
            )


def train_several(jobs: Sequence[Job], runner: Runner, on_end: OnEnd | None = None) -> Several:
    """Run all; one that fails does not stop the others, Ctrl-C stops all.

    Args:
        jobs: what to train; see :func:`require_folders`.
        runner: what runs them.
        on_end: told of each.
    """
    several, reports = Several(), {}
    done = runner(run_job, jobs)
    try:
        for index, ended in done:
            if isinstance(ended, Lost):
                several.lost.append(f"{jobs[index].title}: {ended.reason}")
                continue
            if on_end:
                on_end(ended, len(jobs))
            if ended.report is None:
                several.faults.append(ended.fault)
                continue
            reports[index] = ended
            if ended.report.interrupted:
                several.interrupted = True
                break
    except BaseException as error:
        if not is_of_ctrl_c(error):
            raise
        several.interrupted = True
    finally:
        done.close()
    several.ended = [reports[index] for index in sorted(reports)]
    return several


def spreads(ended: Sequence[Ended]) -> list[Spread]:
    """Of each recipe that has a complete training, in their order."""
    found = []
    for name in dict.fromkeys(each.job.name for each in ended):
        reports = [each.report for each in ended if each.job.name == name and each.report]
        tests = [report.test for report in reports if report.test is not None]
        if tests:
            vals = _mean([report.val for report in reports])
            found.append(Spread(name, len(reports), vals, _mean(tests)))
    return found


def to_send(job: Job) -> Job:
    """The same for another process: absolute paths, and nothing on its stderr.

    Its folder is known to be free by then: a checkpoint in it is of a worker that died.
    """

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return replace(
        job,
        out=job.out.absolute(),
        data=absolute(job.data),
        weights=absolute(job.weights),
        resume=True,
        is_shown=False,
    )


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return math.fsum(values) / len(values), spread
