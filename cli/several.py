"""The command train with several recipes or seeds, or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import EdgearkError
from .console import err, print_json, print_table

if TYPE_CHECKING:
    from ..core.tasks import Runner
    from ..training.several import Ended, Job, Several

_MOST_SEED = 2**32 - 1


def parse_seeds(text: str) -> list[int]:
    """The numbers of ``0,1,2``.

    Raises:
        EdgearkError: something else is in it, or one twice.
    """
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if len(seeds) < len(parts) or max(seeds) > _MOST_SEED:
        raise EdgearkError(f"--seeds {text}: write numbers with commas, as 0,1,2")
    if len(set(seeds)) < len(seeds):
        raise EdgearkError(f"--seeds {text}: each seed once")
    return seeds


def short_names(recipes: Sequence[str]) -> list[str]:
    """Recipes as tables name them: files without folder and suffix, where these tell them apart."""
    names = [Path(each).stem if each.endswith(".toml") else each for each in recipes]
    return names if len(set(names)) == len(set(recipes)) else list(recipes)


def runner_on(address: str, device: str) -> Runner:
    """Trainings share the CPUs of a cluster, and have a GPU each unless they are for CPUs."""
    from ..core.ray_tasks import Needs, ray_runner

    return ray_runner(address, Needs(may_share=True, gpu=device != "cpu"))


def run_several(
    jobs: Sequence[Job], runner: Runner | None, *, json: bool, has_aim: bool
) -> typer.Exit:
    """Train all and print what they came to; the exit status is to be raised.

    Args:
        jobs: what to train.
        runner: of a cluster; None: here, one after another.
        json: one document on stdout.
        has_aim: whether it counts if a recipe's figure is reached.

    Raises:
        EdgearkError: trainings that could not run; the others are complete.
        KeyboardInterrupt: some are not complete, which was said.
    """
    from ..core.tasks import one_by_one
    from ..training.distributed import is_distributed
    from ..training.several import require_folders, to_send, train_several

    if is_distributed():
        raise EdgearkError("torchrun trains one network at a time: name one recipe and one seed")
    require_folders(jobs)
    if runner is not None:
        jobs = [to_send(job) for job in jobs]
    several = train_several(jobs, runner or one_by_one, _say_end)
    if json:
        print_json([each.to_dict() for each in several.ended])
    else:
        _print_several(several)
    for line in several.lost:
        _say(f"not trained: {line}; go on with --resume")
    if several.interrupted:
        _say(
            f"interrupted: {len(several.complete)} of {len(jobs)} trainings are complete; go on "
            "with the same command and --resume"
        )
        raise KeyboardInterrupt
    if several.faults:
        raise EdgearkError("; ".join(several.faults))
    below = [each for each in several.ended if has_aim and each.report and not each.report.reached]
    for each in below:
        _say(f"{each.job.title}: below the recipe's target of {each.job.recipe.target_metric}")
    for each in several.ended:
        if not each.job.out.exists():
            _say(f"{each.job.title}: {each.job.out} is on its worker; nothing is shared with it")
    return typer.Exit(1 if below or several.lost else 0)


def _say_end(ended: Ended, count: int) -> None:
    _say(ended.report.describe() if ended.report else f"not trained: {ended.fault}")


def _print_several(several: Several) -> None:
    from ..training.several import spreads

    rows = [
        [
            *(each.job.name, each.report.seed, each.report.metric, _percent(each.report.val)),
            *(_percent(each.report.test), each.report.n or None, str(each.job.out)),
        ]
        for each in several.ended
        if each.report
    ]
    columns = ["recipe", "seed", "metric", "validation", "test", "n", "folder"]
    print_table("trainings", columns, rows)
    found = [each for each in spreads(several.complete) if each.seeds > 1]
    if found:
        columns = ["recipe", "seeds", "validation", "test"]
        rows = [[s.name, s.seeds, _mean(s.val), _mean(s.test)] for s in found]
        print_table("mean and standard deviation over seeds", columns, rows)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _mean(figure: tuple[float, float | None]) -> str:
    mean, deviation = figure
    return f"{100 * mean:.2f} ± {100 * (deviation or 0):.2f} %"


def _say(line: str) -> None:
    err.print(line, soft_wrap=True, highlight=False, markup=False)
