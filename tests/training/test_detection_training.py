"""Tiny detectors on rectangles and discs: they learn, go on after a stop, and are exported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.pipeline import export_model
from edgeark.training import detection, loop, scripts, yolov5, yolox
from edgeark.training.config import Recipe, load_recipe
from edgeark.training.data import ImageSet
from edgeark.training.loop import TrainingError
from edgeark.training.metrics import mean_average_precision
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.weights import read_spec_overrides
from PIL import Image
from safetensors.torch import load_file
from support.box_images import CLASSES, make_images
from support.two_processes import train_by_two

SIDE = 64

RECIPE = """
model = "yolov5n"
dataset = "yolo_txt"
script = "yolov5"
epochs = {epochs}
batch_size = 8
val_size = 16
model_args = {{ input_size = [64, 64], width = 0.0625, act = "relu" }}
[optim]
lr = 2e-2
ema_decay = 0.8
warmup_epochs = 0.5
[augment]
mosaic = 0.25
close_mosaic = 1
scale = 0.3
translate = 0.1
hflip = 0.5
color_jitter = 0.1
"""


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rectangles and discs in the place of every data set."""

    def load(
        name: str, split: str, *_: object, sample: int | None = None, **__: object
    ) -> ImageSet:
        seed, count = (0, 96) if split == "train" else (1, 32)
        return make_images(count, SIDE, seed, split).sample(sample)

    monkeypatch.setattr("edgeark.training.parts.load_images", load)
    monkeypatch.setattr("edgeark.export.prepare.load_images", load)
    monkeypatch.setattr("edgeark.training.scripts.inspect_before_training", lambda *_: ())


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[int], Recipe]:
    def make(epochs: int) -> Recipe:
        path = tmp_path / "shapes.toml"
        path.write_text(RECIPE.format(epochs=epochs))
        return load_recipe(path)

    return make


@pytest.mark.usefixtures("shapes")
def test_it_learns_and_is_exported(recipe: Callable[[int], Recipe], tmp_path: Path) -> None:
    outcome = yolov5.train(recipe(14), tmp_path / "run")
    losses = [row["loss"] for row in outcome.result.history]
    assert losses[-1] < 0.7 * losses[0]
    assert outcome.test is not None and outcome.test > 0.4
    assert set(outcome.details) == {"map50_95", "map50 rectangle", "map50 disc"}
    with Image.open(tmp_path / "run" / "predictions.png") as sheet:
        assert sheet.size == (5 * SIDE, 2 * SIDE)
    weights = outcome.result.weights
    model = create_model("yolov5n", weights=weights)
    assert spec_of(model).classes == CLASSES

    (row,) = export_model(model, ["onnxruntime"], out=tmp_path / "exports")
    assert (row.status, row.message) == ("ok", "")
    assert row.metric is not None and row.artifact is not None
    assert row.metric.name == "map50"
    assert row.metric.value == pytest.approx(outcome.test, abs=1e-3)
    assert row.metric.details["map50_95"].value == pytest.approx(
        outcome.details["map50_95"], abs=1e-3
    )
    manifest = json.loads((row.artifact.parent / "manifest.json").read_text())
    assert manifest["strides"] == [8, 16, 32]
    assert manifest["anchors"] == json.loads(json.dumps(spec_of(model).anchors))
    assert manifest["input"]["letterbox"] == {"grey": 114, "centred": True}


@pytest.mark.usefixtures("shapes")
def test_yolox_trains(recipe: Callable[[int], Recipe], tmp_path: Path) -> None:
    settings = recipe(2).model_copy(
        update={
            "model": "yolox_nano",
            "script": "yolox",
            "model_args": {"input_size": [SIDE, SIDE], "width": 0.125, "act": "relu"},
        }
    )
    outcome = yolox.train(settings, tmp_path / "run")
    first, last = (row["loss"] for row in outcome.result.history)
    assert last < first
    assert outcome.test is not None
    assert set(outcome.details) == {"map50_95", "map50 rectangle", "map50 disc"}
    spec = spec_of(create_model("yolox_nano", weights=outcome.result.weights))
    assert (spec.classes, spec.head, spec.color) == (CLASSES, "yolox", "bgr")


def test_yolox_learns_a_batch_by_heart() -> None:
    """As it learns: with the normalisation of this very batch."""
    torch.manual_seed(0)
    images, size = make_images(8, SIDE), (SIDE, SIDE)
    model = create_model("yolox_nano", input_size=size, width=0.125, spec={"classes": CLASSES})
    spec, pictures = spec_of(model), torch.from_numpy(images.images).float()
    rows = [np.insert(boxes, 0, place, axis=1) for place, boxes in enumerate(images.labels)]
    targets = torch.from_numpy(np.concatenate(rows).astype(np.float32))
    optimizer, losses = torch.optim.AdamW(model.parameters(), 1e-2), []
    for _ in range(40):
        loss = yolox.loss(model(pictures), targets, spec)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    with torch.no_grad():
        outputs = [output.numpy() for output in model(pictures)]
    assert mean_average_precision(spec, outputs, images.labels)["map50"] > 0.9


def test_two_processes_train_as_well_as_one(
    recipe: Callable[[int], Recipe], tmp_path: Path
) -> None:
    """Boxes on disk, as processes of their own need them; a quarter of the images are mosaics.

    Compared is the loss: mAP after these few steps is that of chance. Two may be better: each
    normalises by its own half of a batch.
    """
    write_yolo(tmp_path / "data")
    settings = recipe(5)
    runs = [tmp_path / name for name in ("one", "two")]
    one = scripts.train(settings, runs[0], data=tmp_path / "data")
    two = train_by_two(tmp_path / "shapes.toml", runs[1], "--data", tmp_path / "data")
    assert (two["n"], two["details"].keys()) == (one.n, one.details.keys())
    first, second = (last_losses(run) for run in runs)
    assert second < 1.25 * first
    anchors = [load_file(run / "best.safetensors")["anchors"] for run in runs]
    assert torch.equal(*anchors)


def last_losses(run: Path) -> float:
    with (run / "log.csv").open() as file:
        return float(np.mean([float(row["loss"]) for row in csv.DictReader(file)][-3:]))


def write_yolo(folder: Path) -> None:
    """The rectangles and discs of ``shapes``, as files."""
    for part, seed, count in (("train", 0, 96), ("test", 1, 32)):
        pictures, texts = folder / "images" / part, folder / "labels" / part
        pictures.mkdir(parents=True)
        texts.mkdir(parents=True)
        images = make_images(count, SIDE, seed, part)
        for number, (image, labels) in enumerate(zip(images.images, images.labels, strict=True)):
            Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{number:03}.png")
            low, high, kinds = labels[:, :2], labels[:, 2:4], labels[:, 4:]
            rows = np.concatenate([kinds, (low + high) / 2 / SIDE, (high - low) / SIDE], axis=1)
            np.savetxt(texts / f"{number:03}.txt", rows, "%.6g")
    (folder / "classes.txt").write_text("\n".join(CLASSES))


@pytest.mark.usefixtures("shapes")
def test_a_stopped_run_ends_with_the_same_weights(
    recipe: Callable[[int], Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scripts.train(recipe(3), tmp_path / "whole")
    original = loop._Run.train_epoch

    def interrupted(self: loop._Run, progress: object) -> None:
        if self.epoch == 2:
            raise KeyboardInterrupt
        original(self, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train_epoch", interrupted)
        assert scripts.train(recipe(3), tmp_path / "parts").interrupted
    parts = scripts.train(recipe(3), tmp_path / "parts", resume=True)
    assert whole.test == parts.test
    first, second = (load_file(report.weights) for report in (whole, parts))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_last_epochs_are_without_mosaics(recipe: Callable[[int], Recipe]) -> None:
    images, spec = make_images(32, SIDE), spec_of(create_model("yolov5n"))
    task = detection.DetectionTask(recipe(5), spec, images, images, yolov5.loss)
    shares = [task.train_batches(16, epoch).dataset.mosaic for epoch in range(5)]  # type: ignore[attr-defined]
    assert shares == [0.25, 0.25, 0.25, 0.25, 0.0]


def test_too_few_images_for_a_batch_is_one_line(
    recipe: Callable[[int], Recipe], tmp_path: Path
) -> None:
    images, model = make_images(6, SIDE), create_model("yolov5n", input_size=(SIDE, SIDE))
    task = detection.DetectionTask(recipe(1), spec_of(model), images, images, yolov5.loss)
    with pytest.raises(TrainingError, match="fewer images to train on than batch_size"):
        loop.fit(model, task, recipe(1), tmp_path / "run")


@pytest.mark.usefixtures("shapes")
def test_anchors_that_do_not_fit_are_replaced_and_travel_with_the_weights(
    recipe: Callable[[int], Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeark.zoo import registry

    entry = registry.model_entry("yolov5n")
    huge = tuple(tuple((50 * w, 50 * h) for w, h in scale) for scale in entry.spec.anchors)
    changed = replace(entry, spec=replace(entry.spec, anchors=huge))
    monkeypatch.setitem(registry._ENTRIES, "yolov5n", changed)
    outcome = yolov5.train(recipe(1), tmp_path / "run")
    fitted = read_spec_overrides(outcome.result.weights)["anchors"]
    assert fitted != huge
    assert max(side for scale in fitted for pair in scale for side in pair) <= SIDE
    model = create_model("yolov5n", weights=outcome.result.weights)
    assert torch.equal(model.get_buffer("anchors"), torch.tensor(fitted))


def test_chance_finds_nearly_nothing() -> None:
    """What an untrained network is worth: the learned figure above is far from it."""
    images = make_images(16, SIDE)
    torch.manual_seed(0)
    model = create_model("yolov5n", spec={"classes": CLASSES}, input_size=(SIDE, SIDE))
    normalize = detection.make_normalize(spec_of(model))
    outputs = detection.predict(model, images.images, normalize, "cpu")
    assert [o.shape for o in outputs] == [(16, 21, s, s) for s in (8, 4, 2)]
    assert mean_average_precision(spec_of(model), outputs, images.labels)["map50"] < 0.1
    assert all(np.isfinite(o).all() for o in outputs)
