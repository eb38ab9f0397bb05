"""``edgeark new``: each project trains and exports by the very commands that its README states."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from edgeark.projects import create
from edgeark.projects.create import TEMPLATES, ProjectError, create_project
from edgeark.projects.example import CLASSES, write_example
from edgeark.training.config import Recipe, load_recipe
from edgeark.training.data import load_images
from edgeark.zoo import registry


def commands(readme: Path, section: str) -> list[list[str]]:
    """The indented commands under a heading."""
    part = readme.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = part.replace("\\\n", " ").splitlines()
    found = [shlex.split(line) for line in lines if line.startswith("    python ")]
    assert found, section
    return found


@pytest.fixture
def own_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a project registers is forgotten afterwards."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield
    sys.modules.pop("model", None)


@pytest.mark.parametrize(
    "template", ["mnist", "vgg", "mobilenet", "unet", "yolov5", "yolo11", "yolox"]
)
@pytest.mark.usefixtures("own_models")
def test_the_readmes_commands_train_and_export(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, for the five imports of torch that it spares; smaller images likewise."""
    folder = create_project(tmp_path / "mine", template, example=True).folder
    recipe = folder / "recipe.toml"
    smaller = {"[224, 224]": "[64, 64]", "[416, 416]": "[96, 96]"}
    for size, small in smaller.items():
        recipe.write_text(recipe.read_text().replace(size, small))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for _, script, *arguments in commands(folder / "README.md", "Try it"):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
        assert not ended.value.code, (script, ended.value.code)
    assert (folder / "runs/try/result.json").is_file()
    assert (folder / f"exports/my_{template}/onnxruntime/float32/model.onnx").is_file()


def test_the_readmes_commands_work_in_a_shell(tmp_path: Path) -> None:
    python = [sys.executable, "-m", "edgeark"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def call(command: list[str], cwd: Path) -> str:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    written = call([*python, "new", "mine", "--template", "mnist", "--example"], tmp_path)
    assert "recipe.toml" in written
    folder = tmp_path / "mine"
    for _, *arguments in commands(folder / "README.md", "Try it"):
        call([sys.executable, *arguments], folder)
    assert (folder / "exports/my_mnist/onnxruntime/float32/manifest.json").is_file()
    (bundle,) = commands(folder / "README.md", "Onto a board")
    call([sys.executable, *(word.replace("first", "try") for word in bundle[1:])], folder)
    call([*python, "verify", "board"], folder)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_recipe_says_what_the_shipped_one_says(template: str, tmp_path: Path) -> None:
    facts = TEMPLATES[template]
    project = create_project(tmp_path / "a" / "b", template)
    mine, shipped = load_recipe(project.folder / "recipe.toml"), load_recipe(facts.recipe)
    assert mine.augment == shipped.augment
    assert mine.optim == shipped.optim.model_copy(update={"lr": facts.lr})
    assert (mine.script, mine.epochs) == (shipped.script, shipped.epochs)
    assert (mine.dataset, mine.val_size, mine.target_metric) == (facts.dataset, 0, 0.0)
    assert mine.model_args.keys() >= {"input_size", "in_channels"}
    assert {p.name for p in project.folder.iterdir()} == set(project.files)
    for name in project.files:
        text = (project.folder / name).read_text()
        assert text.endswith("\n") and "{{" not in text and "{%" not in text
        assert max(map(len, text.splitlines())) <= 100, name
    for name in ("model.py", "train.py", "export.py", "bundle.py"):
        compile((project.folder / name).read_text(), name, "exec")


def test_every_family_with_a_script_has_a_template() -> None:
    scripts = {load_recipe(template.recipe).script for template in TEMPLATES.values()}
    assert scripts == set(get_args(Recipe.model_fields["script"].annotation))


@pytest.mark.parametrize("inside", ["file", "folder", "hidden"])
def test_a_folder_with_something_in_it_is_left_alone(inside: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    if inside == "file":
        folder.write_text("mine")
    else:
        (folder / (".git" if inside == "hidden" else "src")).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProjectError, match="mine is there already: name a new folder, or empty it"):
        create_project(folder, "unet")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert create_project(tmp_path, "vgg").folder == tmp_path
    assert (tmp_path / "train.py").is_file()


def test_an_unknown_template_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no template 'resnet'; there are mnist, vgg, mobilenet"):
        create_project(tmp_path / "mine", "resnet")
    assert not (tmp_path / "mine").exists()


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, dataset: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(create, "write_example", full)
    with pytest.raises(OSError, match="No space left"):
        create_project(tmp_path / "mine", "unet", example=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["image_folder", "mask_folder", "yolo_txt"])
def test_example_images_are_what_their_labels_say(dataset: str, tmp_path: Path) -> None:
    count = write_example(tmp_path, dataset)
    parts = [load_images(dataset, s, tmp_path, shape=(3, 96, 96)) for s in ("train", "test")]
    assert sum(map(len, parts)) == count
    for part in parts:
        for image, label in zip(part.images, part.labels, strict=True):
            red, _, blue = image.astype(int)
            colored = np.abs(red - blue) > 60  # the ground is grey
            if dataset == "image_folder":
                assert (red[colored].mean() > blue[colored].mean()) == (label == 0)
            elif dataset == "mask_folder":
                assert np.array_equal(colored, label == 1)
            else:
                (x1, y1, x2, y2, kind), rows, columns = label[0], *np.nonzero(colored)
                edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert np.allclose((x1, y1, x2, y2), edges, atol=1.01)
                assert (red[colored].mean() > blue[colored].mean()) == (kind == 0)
    if dataset != "mask_folder":
        assert parts[0].classes == CLASSES
