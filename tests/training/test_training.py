"""Recipes, the loop, checkpoints; a killed run goes on and ends with the same weights."""

from __future__ import annotations

import csv
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.training import classification, loop, scripts
from edgeark.training import mnist as mnist_script
from edgeark.training.checkpoint import (
    CheckpointError,
    atomic_path,
    load_checkpoint,
    only_writer,
    save_checkpoint,
)
from edgeark.training.config import RecipeError, list_recipes, load_recipe
from edgeark.training.data import load_images
from edgeark.zoo import model_entry
from safetensors.torch import load_file
from support.training_runs import start_training
from support.two_processes import train_by_two

Write = Callable[..., Path]


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_are_valid(name: str) -> None:
    """A recipe is named after its model, and by more where a model has several."""
    recipe = load_recipe(name)
    assert name == recipe.model or name.startswith(f"{recipe.model}_")
    model_entry(recipe.model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "cannot read recipe"),
        ('model = "mnist"', "dataset: Field required"),
        (
            'model="m"\ndataset="d"\nscript="mnist"\nepochs=0\nbatch_size=8\n[optim]\nlr=1',
            "epochs",
        ),
        (
            'model="m"\ndataset="d"\nscript="mnist"\nepochs=1\nbatch_size=8\n[optim]\nlr=1\nlR=2',
            r"optim\.lR: Extra",
        ),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet", "no recipe lenet; edgeark recipes lists those that ship; or give a TOML file"),
        ("minst", "no recipe minst; did you mean mnist"),
        ("none/mnist.toml", "no recipe none/mnist.toml; did you mean mnist"),
    ],
)
def test_an_unknown_recipe_says_which_there_are(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(name)


def test_a_short_training_learns_and_leaves_its_files(write_recipe: Write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    report = scripts.train(load_recipe(write_recipe(epochs=10)), out)
    assert report.test is not None and report.test > 0.8
    assert {p.name for p in out.iterdir()} - {".lock"} == {
        *("best.safetensors", "last.ckpt", "log.csv", "curves.png", "confusion.png"),
        *("result.json", "tensorboard"),
    }
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 11))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_learning_rate_warms_up_and_falls(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(epochs=4))
    result = mnist_script.train(recipe, tmp_path).result
    rates = [row["lr"] for row in result.history]
    assert max(rates) == pytest.approx(recipe.optim.lr, rel=0.2)
    assert rates[-1] < recipe.optim.lr / 10


def test_early_stopping(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    monkeypatch.setattr(classification.ClassificationTask, "evaluate", lambda *args: next(values))
    recipe = load_recipe(write_recipe(epochs=5, patience=2))
    result = mnist_script.train(recipe, tmp_path).result
    assert (result.epochs, result.best_epoch, result.best_metric) == (3, 1, 0.5)


def test_an_infinite_loss_stops_the_run_and_names_the_batch(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = classification.ClassificationTask.loss
    calls = iter(range(100))

    def broken(self: classification.ClassificationTask, model: torch.nn.Module, batch: loop.Batch):
        loss = original(self, model, batch)
        return loss * float("nan") if next(calls) == 10 else loss

    monkeypatch.setattr(classification.ClassificationTask, "loss", broken)
    with pytest.raises(loop.TrainingError, match=r"the loss is nan in epoch 2, batch 2"):
        mnist_script.train(load_recipe(write_recipe()), tmp_path)
    assert load_checkpoint(tmp_path / "last.ckpt")["epoch"] == 1


def test_an_infinite_gradient_stops_the_run_and_names_the_batch(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = classification.ClassificationTask.loss

    def steep(self: classification.ClassificationTask, model: torch.nn.Module, batch: loop.Batch):
        loss = original(self, model, batch)
        return loss + (loss - loss.detach()).sqrt()  # 0, with a slope of infinity

    monkeypatch.setattr(classification.ClassificationTask, "loss", steep)
    recipe = load_recipe(write_recipe())
    recipe = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"clip_norm": 1.0})})
    with pytest.raises(loop.TrainingError, match=r"gradient's norm is \w+ in epoch 1, batch 1;"):
        mnist_script.train(recipe, tmp_path)


def test_ctrl_c_keeps_the_last_epoch(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(write_recipe())
    original = loop._Run.train_epoch

    def interrupted(self: loop._Run, progress: object) -> None:
        if self.epoch == 2:
            raise KeyboardInterrupt
        original(self, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train_epoch", interrupted)
        report = scripts.train(recipe, tmp_path)
    assert (report.interrupted, report.epochs, report.test) == (True, 2, None)
    assert scripts.train(recipe, tmp_path, resume=True).epochs == 3


def test_resuming_another_recipe_is_refused(write_recipe: Write, tmp_path: Path) -> None:
    scripts.train(load_recipe(write_recipe(epochs=1)), tmp_path)
    with pytest.raises(CheckpointError, match="another recipe"):
        scripts.train(load_recipe(write_recipe(epochs=2)), tmp_path, resume=True)


def test_a_recipe_of_an_earlier_release_is_the_same(write_recipe: Write) -> None:
    recipe = load_recipe(write_recipe())
    fields = recipe.model_dump()
    assert recipe.equals(recipe.model_dump_json())
    del fields["qat"], fields["augment"]["mosaic"]
    assert recipe.equals(json.dumps(fields))
    assert not recipe.equals(json.dumps({**fields, "seed": 7}))
    assert not recipe.equals("") and not recipe.equals(json.dumps({**fields, "color": 1}))


def test_a_finished_run_is_not_overwritten(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(epochs=1))
    scripts.train(recipe, tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="holds a training already; go on with --resume"):
        scripts.train(recipe, tmp_path)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_two_trainings_do_not_share_a_folder(write_recipe: Write, tmp_path: Path) -> None:
    recipe, out = load_recipe(write_recipe(epochs=1)), tmp_path / "out"
    words = "another training writes to"
    with only_writer(out), pytest.raises(CheckpointError, match=words):
        scripts.train(recipe, out)
    assert scripts.train(recipe, out).epochs == 1
    with only_writer(out), pytest.raises(CheckpointError, match=words):
        scripts.train(recipe, out, resume=True)


def test_a_folder_that_cannot_be_made(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot make the folder"):
        scripts.train(load_recipe(write_recipe()), tmp_path / "file" / "out")


def test_nothing_to_resume(write_recipe: Write, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        scripts.train(load_recipe(write_recipe()), tmp_path, resume=True)


def test_a_checkpoint_holds_no_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state": _Evil(tmp_path / "ran")}, path)
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_full_disk_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint({"epoch": 1}, path)

    def full(state: object, partial: Path) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*make room and go on with --resume"):
        save_checkpoint({"epoch": 2}, path)
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_atomic_file_appears_only_whole(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a" / "f.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list((tmp_path / "a").iterdir()) == []


def test_evaluation_equals_a_plain_count(tmp_path: Path) -> None:
    from edgeark.zoo import create_model, spec_of

    model = create_model("mnist_kpu", pretrained=True).eval()
    digits = load_images("digits", "test")
    normalize = classification.make_normalize(spec_of(model))
    with torch.no_grad():
        answers = model(normalize(torch.from_numpy(digits.images))).flatten(1).argmax(1)
    counted = float(np.mean(answers.numpy() == digits.labels))
    assert classification.evaluate(model, digits, normalize) == pytest.approx(counted)


def test_a_killed_training_resumes_to_the_same_weights(write_recipe: Write, tmp_path: Path) -> None:
    """SIGKILL at two random moments; then bit for bit the weights of an uninterrupted run."""
    recipe = write_recipe(epochs=4)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    scripts.train(load_recipe(recipe), whole)

    seed = random.randrange(1_000_000)
    delays = random.Random(seed)
    kills = 0
    for attempt in range(2):
        process = start_training(recipe, broken, *(["--resume"] if attempt else []))
        before = _epoch(broken)
        deadline = time.monotonic() + 600
        while _epoch(broken) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)  # a checkpoint is read each time
        time.sleep(delays.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1, f"the runs ended before they were killed (seed {seed})"

    done = start_training(recipe, broken, "--resume")
    assert done.wait(300) == 0, done.stderr and done.stderr.read()
    one, two = (load_file(folder / "best.safetensors") for folder in (whole, broken))
    for key, value in one.items():
        assert torch.equal(value, two[key]), f"{key} differs (seed {seed})"
    states = [load_checkpoint(folder / "last.ckpt") for folder in (whole, broken)]
    for key, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][key]), f"{key} differs (seed {seed})"
    leftover = [p.name for p in broken.iterdir() if "partial" in p.name]
    assert len(leftover) <= kills


def _epoch(folder: Path) -> int:
    path = folder / "last.ckpt"
    return load_checkpoint(path)["epoch"] if path.exists() else 0


def test_two_processes_train_as_one_does(write_recipe: Write, tmp_path: Path) -> None:
    recipe = write_recipe(epochs=8)
    two = train_by_two(recipe, tmp_path / "two")
    one = scripts.train(load_recipe(recipe), tmp_path / "one")
    assert one.test is not None and abs(two["test"] - one.test) < 0.05
    with (tmp_path / "two" / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8


class LineTask:
    """The least that the loop needs: a line through 64 points."""

    metric = "top1"

    def __init__(self) -> None:
        x = torch.linspace(-1, 1, 64)[:, None]
        self.points = torch.utils.data.TensorDataset(x, 3 * x + 1)

    def train_batches(self, batch_size: int, epoch: int) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(self.points, batch_size)

    def loss(self, model: torch.nn.Module, batch: loop.Batch) -> torch.Tensor:
        return (model(batch[0]) - batch[1]).square().mean()

    def evaluate(self, model: torch.nn.Module, device: torch.device) -> float:
        return 0.0


class InterruptedTask(LineTask):
    """A library that meets Ctrl-C and raises an error of its own."""

    def evaluate(self, model: torch.nn.Module, device: torch.device) -> float:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("KeyboardInterrupt: ") from error


def test_ctrl_c_in_a_library_ends_a_run_as_any_other(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe())
    line = torch.nn.Linear(1, 1)
    assert loop.fit(
        line, InterruptedTask(), recipe, tmp_path / "run", accelerator="cpu"
    ).interrupted


def one_epoch(write_recipe: Write, out: Path, optim: str = "", **fields: object) -> torch.Tensor:
    """The weight of a line after one epoch of SGD."""
    path = write_recipe(**fields)
    path.write_text(path.read_text().replace("[optim]", f'[optim]\nname = "sgd"\n{optim}'))
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    loop.fit(line, LineTask(), load_recipe(path, epochs=1), out, accelerator="cpu")
    return line.weight.detach()


def test_accumulated_batches_are_one_large_batch(write_recipe: Write, tmp_path: Path) -> None:
    large = one_epoch(write_recipe, tmp_path / "large", batch_size=64)
    small = one_epoch(write_recipe, tmp_path / "small", batch_size=16, accumulate=4)
    other = one_epoch(write_recipe, tmp_path / "other", batch_size=16)
    torch.testing.assert_close(small, large)
    assert not torch.allclose(other, large)


def test_gradients_are_clipped(write_recipe: Write, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = torch.nn.Linear(1, 1).weight.detach()
    free = one_epoch(write_recipe, tmp_path / "free", batch_size=64)
    held = one_epoch(write_recipe, tmp_path / "held", "clip_norm = 1e-3", batch_size=64)
    assert 0 < (held - start).abs().item() < (free - start).abs().item() / 10
