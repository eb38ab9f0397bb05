"""Where the figures go: which files, and what MLflow and Weights & Biases are told.

Their packages are stand-ins that note what they are called with; the calls were tried on
mlflow-skinny 3.17 and wandb 0.31.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from edgeark.training import scripts
from edgeark.training.config import load_recipe
from edgeark.training.logs import LogError, open_logs, parse_logs
from support.command import Run

Write = Callable[..., Path]
Said = list[tuple[Any, ...]]


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "loss": 1 / epoch}


def install(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Said:
    said: Said = []

    def init(**options: Any) -> SimpleNamespace:
        name = options["id"] or f"run{len(said)}"
        said.append(("init", options["project"], options["config"]["model"], options["id"]))
        return SimpleNamespace(
            id=name,
            log=lambda figures, step: said.append((name, step, figures["loss"])),
            finish=lambda exit_code: said.append((name, "finish", exit_code)),
        )

    install(monkeypatch, "wandb", init=init)
    return said


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Said:
    said: Said = []

    class Client:
        def get_experiment_by_name(self, name: str) -> None:
            assert name == "edgeark"

        def create_experiment(self, name: str) -> str:
            return f"id of {name}"

        def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
            said.append(("create", experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(said)}"))

        def log_param(self, run: str, key: str, value: Any) -> None:
            if key in ("optim.lr", "model"):
                said.append((run, key, value))

        def log_metric(self, run: str, key: str, value: float, step: int) -> None:
            if key == "loss":
                said.append((run, step, value))

        def update_run(self, run: str, status: str) -> None:
            said.append((run, status))

        def set_terminated(self, run: str, status: str) -> None:
            said.append((run, status))

    install(monkeypatch, "mlflow", MlflowClient=Client)
    return said


def train_in_two_parts(name: str, write_recipe: Write, out: Path) -> None:
    """An epoch, Ctrl-C, and the rest."""
    recipe = load_recipe(write_recipe())
    with pytest.raises(KeyboardInterrupt), open_logs(parse_logs(name), out, recipe) as (log,):
        log.write([row(1)])
        raise KeyboardInterrupt
    with open_logs((name,), out, recipe) as (log,):
        log.write([row(1), row(2)])


def test_wandb_goes_on_in_the_same_run(wandb: Said, write_recipe: Write, tmp_path: Path) -> None:
    train_in_two_parts("wandb", write_recipe, tmp_path / "mine")
    assert wandb == [
        ("init", "edgeark", "mnist_kpu", None),
        ("run0", 1, 1.0),
        ("run0", "finish", 1),
        ("init", "edgeark", "mnist_kpu", "run0"),
        ("run0", 2, 0.5),
        ("run0", "finish", 0),
    ]


def test_mlflow_goes_on_in_the_same_run(mlflow: Said, write_recipe: Write, tmp_path: Path) -> None:
    train_in_two_parts("mlflow", write_recipe, tmp_path / "mine")
    assert mlflow == [
        ("create", "id of edgeark", "mine"),
        ("run1", "model", "mnist_kpu"),
        ("run1", "optim.lr", 1e-2),
        ("run1", "RUNNING"),
        ("run1", 1, 1.0),
        ("run1", "KILLED"),
        ("run1", "RUNNING"),
        ("run1", 2, 0.5),
        ("run1", "FINISHED"),
    ]


def test_a_service_that_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, write_recipe: Write, tmp_path: Path
) -> None:
    def init(**_: Any) -> None:
        raise RuntimeError("api_key not configured\n(no-tty)")

    install(monkeypatch, "wandb", init=init)
    with pytest.raises(LogError, match=r"^--log wandb: api_key not configured \(no-tty\)$"):
        scripts.train(load_recipe(write_recipe()), tmp_path / "run", log=("wandb",))


def test_the_named_logs_are_written_and_no_others(write_recipe: Write, tmp_path: Path) -> None:
    scripts.train(load_recipe(write_recipe(epochs=1)), tmp_path / "run", log=("csv",))
    assert (tmp_path / "run/log.csv").read_text().startswith("epoch,loss,lr")
    assert not (tmp_path / "run/tensorboard").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("csv,paper", "no log 'paper'; there are csv, tensorboard, mlflow, wandb"),
        ("", "no log ''"),
        ("wandb", r"--log wandb needs its package: pip install edgeark\[wandb\]"),
    ],
)
def test_an_impossible_log_is_one_line(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeark.training.logs.find_spec", lambda name: None)
    with pytest.raises(LogError, match=message):
        parse_logs(text)


def test_the_command_says_so_before_it_trains(run: Run, tmp_path: Path) -> None:
    done = run("train", "mnist", "--log", "paper", "--out", tmp_path / "run")
    assert done.status == 2 and "no log 'paper'" in done.err
    assert not (tmp_path / "run").exists()
