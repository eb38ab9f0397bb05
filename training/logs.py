"""Where the figures of every epoch go: files in the run's folder, MLflow, Weights & Biases.

A run that is resumed goes on in the same place: ``runs.json`` in its folder keeps the names that
MLflow and Weights & Biases gave it. Where they send the figures, and whether, their own environment
variables say (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from tensorboardX import SummaryWriter

from ..core.messages import suggest
from ..errors import EdgearkError
from .checkpoint import atomic_path
from .config import Recipe

Row = dict[str, float]
DEFAULT_LOGS = ("csv", "tensorboard")
_PROJECT = "edgeark"
_RUNS = "runs.json"


class LogError(EdgearkError):
    """A log of no known name, or one whose package is not installed."""


class Log(Protocol):
    """One place that keeps the figures."""

    def write(self, history: Sequence[Row]) -> None:
        """After an epoch: the rows of all epochs so far, the newest one last."""
        ...


class CsvLog:
    """``log.csv``: the whole history, each time, so that a resumed run leaves no row twice."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.path = out / "log.csv"

    def write(self, history: Sequence[Row]) -> None:
        with atomic_path(self.path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, history[0])
            writer.writeheader()
            writer.writerows(history)


class TensorBoardLog:
    """The folder ``tensorboard``."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.folder = out / "tensorboard"

    def write(self, history: Sequence[Row]) -> None:
        step = len(history)
        with SummaryWriter(str(self.folder), purge_step=step) as board:
            for key, value in history[-1].items():
                board.add_scalar(key, value, step)


class MlflowLog:
    """A run of the experiment ``edgeark``."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        mlflow = import_module("mlflow")

        self.client = mlflow.MlflowClient()
        self.run = _remembered(out, "mlflow")
        if self.run is None:
            found = self.client.get_experiment_by_name(_PROJECT)
            experiment = found.experiment_id if found else self.client.create_experiment(_PROJECT)
            created = self.client.create_run(experiment, run_name=out.name)
            self.run = created.info.run_id
            for key, value in _flat(recipe.model_dump()).items():
                self.client.log_param(self.run, key, value)
            _remember(out, "mlflow", self.run)
        self.client.update_run(self.run, "RUNNING")

    def write(self, history: Sequence[Row]) -> None:
        for key, value in history[-1].items():
            self.client.log_metric(self.run, key, value, step=len(history))

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


class WandbLog:
    """A run of the project ``edgeark``."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        wandb = import_module("wandb")

        self.run = wandb.init(
            project=_PROJECT,
            name=out.name,
            dir=str(out),
            id=_remembered(out, "wandb"),
            resume="allow",
            config=recipe.model_dump(),
        )
        _remember(out, "wandb", self.run.id)

    def write(self, history: Sequence[Row]) -> None:
        self.run.log(dict(history[-1]), step=len(history))

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)


_LOGS = {"csv": CsvLog, "tensorboard": TensorBoardLog, "mlflow": MlflowLog, "wandb": WandbLog}
_EXTRAS = ("mlflow", "wandb")  # packages, and extras of ours, of the same names


def parse_logs(text: str) -> tuple[str, ...]:
    """Names of logs in ``csv,tensorboard``; each is known and can be written here.

    Raises:
        LogError: one is not.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in _LOGS:
            hint = suggest(name, _LOGS, f"there are {', '.join(_LOGS)}")
            raise LogError(f"no log {name!r}; {hint}")
        if name in _EXTRAS and find_spec(name) is None:
            raise LogError(f"--log {name} needs its package: pip install edgeark[{name}]")
    return names


@contextmanager
def open_logs(names: Sequence[str], out: Path, recipe: Recipe) -> Iterator[list[Log]]:
    """The logs of a training into ``out``; those that end hear whether the block went through.

    Raises:
        LogError: a service refuses.
    """
    with ExitStack() as stack:
        logs: list[Log] = []
        for name in names:
            log = _open(name, out, recipe)
            if isinstance(log, (MlflowLog, WandbLog)):
                stack.push(lambda kind, *_, close=log.close: close(kind is None))
            logs.append(log)
        yield logs


def _open(name: str, out: Path, recipe: Recipe) -> Any:
    try:
        return _LOGS[name](out, recipe)
    except Exception as error:
        if name not in _EXTRAS:
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__  # nobody logged in, say
        raise LogError(f"--log {name}: {said}") from error


def _remembered(out: Path, name: str) -> str | None:
    path = out / _RUNS
    return json.loads(path.read_text()).get(name) if path.exists() else None


def _remember(out: Path, name: str, run: str) -> None:
    path = out / _RUNS
    runs = json.loads(path.read_text()) if path.exists() else {}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps({**runs, name: run}) + "\n")


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields as ``optim.lr``."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
