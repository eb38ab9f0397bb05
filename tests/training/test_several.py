"""Several recipes and seeds in one command: the same runs as one by one, and a table of them."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from edgeark.training import loop, several
from safetensors.torch import load_file
from support.command import Run

Write = Callable[..., Path]


@pytest.fixture
def two_recipes(write_recipe: Write, tmp_path: Path) -> tuple[Path, Path]:
    """Of 2 epochs on the same digits, each with a network of its own."""
    first = write_recipe(epochs=2)
    text = first.read_text().replace('"mnist_kpu"', '"mnist"').replace("width = 0.25\n", "")
    second = tmp_path / "other.toml"
    second.write_text(text)
    return first, second


def test_recipes_by_seeds_are_what_each_is_alone(
    run: Run, two_recipes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, _ = two_recipes
    done = run("train", *two_recipes, "--seeds", "0,3", "--json")
    assert done.status == 0, done.err
    places = [(d["recipe"], d["seed"], d["folder"]) for d in done.json]
    assert places == [
        *(("digits", seed, f"runs/mnist_kpu-seed{seed}") for seed in (0, 3)),
        *(("other", seed, f"runs/mnist-seed{seed}") for seed in (0, 3)),
    ]
    assert all(Path(d["weights"]).is_file() and d["n"] == 1000 for d in done.json)
    alone = run("train", first, "--seed", 3, "--out", "alone", "--json")
    assert {**done.json[1], "weights": ""} == {
        **alone.json, "weights": "", "recipe": "digits", "folder": "runs/mnist_kpu-seed3",
    }  # fmt: skip
    one, two = (load_file(f"{at}/best.safetensors") for at in ("alone", "runs/mnist_kpu-seed3"))
    assert all((one[key] == two[key]).all() for key in one)

    taken = run("train", *two_recipes, "--seeds", "0,3")
    assert taken.status == 2 and "go on with --resume" in taken.err and not taken.out
    shutil.rmtree("runs/mnist-seed0")
    again = run("train", *two_recipes, "--seeds", "0,3", "--resume")  # three are complete
    assert again.status == 0 and "Aborted" not in again.err
    table = again.out.splitlines()
    assert sum("runs/mnist" in line for line in table) == 4
    tests = [100 * d["test"] for d in done.json[:2]]
    spread = f"{statistics.mean(tests):.2f} ± {statistics.stdev(tests):.2f} %"
    assert any(line.startswith("digits") and line.endswith(spread) for line in table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A", "--seed", "1", "--seeds", "1,2"], "--seed names one seed and --seeds several"),
        (["A", "--seeds", "1,a"], "--seeds 1,a: write numbers with commas, as 0,1,2"),
        (["A", "--seeds", "1,,2"], "--seeds 1,,2: write numbers"),
        (["A", "--seeds", "4294967296"], "--seeds 4294967296: write numbers"),
        (["A", "--seeds", "1,1"], "--seeds 1,1: each seed once"),
        (["A", "A"], "seed 0: each training needs a folder, and runs/mnist_kpu-seed0 is both's"),
        (["A", "nothing"], "no recipe nothing"),
        (["A", "--seeds", "0,1", "--ray", "here"], "--ray"),
    ],
)
def test_what_cannot_be_trained_together_is_one_line(
    words: list[str], message: str, run: Run, write_recipe: Write, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe()
    done = run("train", *(str(recipe) if word == "A" else word for word in words))
    assert done.status == 2 and done.out == "" and message in done.err
    assert done.err.count("\n") == 1 and not Path("runs").exists()


def test_one_that_cannot_run_does_not_stop_the_others(
    run: Run, two_recipes: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = two_recipes
    first.write_text(first.read_text().replace('"digits"', '"cifar10"'))
    second.write_text(second.read_text().replace("epochs = 2", "epochs = 1\ntarget_metric = 0.999"))
    data = ("--data", tmp_path)
    out = tmp_path / "all"
    done = run("train", first, second, *data, "--out", out, "--json")
    assert done.status == 2 and "error: digits seed 0: " in done.err
    assert [d["folder"] for d in done.json] == [str(out / "mnist-seed0")]
    done = run("train", second, "--seeds", "0", "--out", tmp_path / "aim", "--json")
    assert done.status == 1 and "other seed 0: below the recipe's target of 0.999" in done.err
    assert isinstance(done.json, list) and (tmp_path / "aim" / "result.json").is_file()


def test_ctrl_c_says_what_is_complete_and_how_to_go_on(
    run: Run, write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(epochs=1)
    original = loop._Run.train_epoch

    def interrupted(self: loop._Run, progress: object) -> None:
        if self.recipe.seed == 1:
            raise KeyboardInterrupt
        original(self, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train_epoch", interrupted)
        done = run("train", recipe, "--seeds", "0,1,2")
    assert done.status == 130
    assert "interrupted: 1 of 3 trainings are complete; go on" in done.err
    assert not Path("runs/mnist_kpu-seed2").exists()
    done = run("train", recipe, "--seeds", "0,1,2", "--resume", "--json")
    assert done.status == 0 and [d["seed"] for d in done.json] == [0, 1, 2]
    kept = json.loads(Path("runs/mnist_kpu-seed0/result.json").read_text())
    assert kept.items() <= done.json[0].items()


def test_the_spread_of_one_seed_is_unknown() -> None:
    assert several._mean([0.5]) == (0.5, None)
    mean, deviation = several._mean([0.4, 0.6])
    assert mean == pytest.approx(0.5) and deviation == pytest.approx(statistics.stdev([0.4, 0.6]))
