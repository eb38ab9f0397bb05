"""Training on masks: the loss, the balance, the figures, and a small UNet that learns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import DataError
from edgeark.export.evaluate import evaluate_model
from edgeark.training import loop, scripts, unet
from edgeark.training.checkpoint import load_checkpoint
from edgeark.training.classification import confusion
from edgeark.training.config import load_recipe
from edgeark.training.data import ImageSet, load_images
from edgeark.training.losses import mask_loss, soft_dice_loss
from edgeark.training.metrics import mask_figures
from edgeark.training.segmentation import (
    SegmentationTask,
    balanced_sampler,
    halve,
    show_predictions,
)
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.tasks.segmentation import foreground_dice, has_foreground, to_mask
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from PIL import Image
from support.two_processes import train_by_two
from torch.utils.data import Sampler

RECIPE = """
model = "unet_8"
dataset = "{dataset}"
script = "unet"
epochs = {epochs}
batch_size = 16
seed = 1
model_args = {{ input_size = [64, 64], width = 0.5 }}
[optim]
lr = 1e-2
ema_decay = 0.5
warmup_epochs = 0.5
clip_norm = 1.0
[augment]
hflip = 0.5
vflip = 0.5
rot90 = 0.5
color_jitter = 0.2
gamma = 0.2
degrees = 10
progressive_resize_epochs = {progressive_resize_epochs}
"""


def write_tiles(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Noise with gradients; two tiles of five have a bright blob, which is what the mask marks."""
    y, x = np.mgrid[:64, :64]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        image = 90 + rng.normal(0, 12, (64, 64)) + 0.4 * (x - 32) * rng.normal()
        mask = np.zeros((64, 64), bool)
        if number % 5 < 2:
            (cy, cx), radius = rng.uniform(12, 52, 2), rng.uniform(5, 9)
            mask = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        image[mask] += 70
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number}.png")
        Image.fromarray((255 * mask).astype(np.uint8)).save(folder / f"masks/{number}.png")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 100), ("test", 25)):
        write_tiles(tmp_path / "tiles" / part, count, rng)
    return tmp_path / "tiles"


def write_recipe(
    folder: Path, epochs: int, dataset: str = "mask_folder", progressive_resize_epochs: int = 0
) -> Path:
    path = folder / "small.toml"
    path.write_text(
        RECIPE.format(
            epochs=epochs, dataset=dataset, progressive_resize_epochs=progressive_resize_epochs
        )
    )
    return path


def test_a_small_unet_learns_and_its_figure_is_that_of_its_export(
    tiles: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    report = scripts.train(load_recipe(write_recipe(tmp_path, epochs=6)), out, data=tiles)
    test = load_images("mask_folder", "test", tiles, shape=(1, 64, 64))
    everywhere = foreground_dice(np.ones_like(test.labels), test.labels, 1).mean()
    assert report.metric == "dice" and report.n == 10
    assert report.test is not None and report.test > 0.6 > 5 * everywhere
    assert set(report.details) == {"false_alarms"}
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert max(float(row["dice"]) for row in rows) == pytest.approx(report.val)
    written = json.loads((out / "result.json").read_text())
    assert written["metric"] == "dice" and written["details"] == report.details
    assert (out / "predictions.png").read_bytes().startswith(b"\x89PNG")

    weights = out / "best.safetensors"
    rows = evaluate_model("unet_8", "pytorch,onnxruntime", weights=weights, data=tiles, int8=True)
    assert [(row.target, row.precision) for row in rows] == [
        *(("pytorch", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8"))
    ]
    for row in rows:
        assert row.metric is not None and (row.metric.name, row.metric.n) == ("dice", 10)
        assert row.metric.float == pytest.approx(report.test, abs=1e-3)
    assert rows[1].status == "ok", rows[1].message


def test_a_run_in_two_parts_ends_in_the_same_weights(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, epochs=2, progressive_resize_epochs=1))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    scripts.train(recipe, whole, data=tiles)
    original = loop._Run.train_epoch

    def interrupted(self: loop._Run, progress: object) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        original(self, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train_epoch", interrupted)
        report = scripts.train(recipe, broken, data=tiles)
    assert report.interrupted and (report.metric, report.test) == ("dice", None)
    scripts.train(recipe, broken, data=tiles, resume=True)
    one, two = (load_checkpoint(folder / "last.ckpt")["model"] for folder in (whole, broken))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_first_epochs_see_small_images(tiles: Path, tmp_path: Path) -> None:
    images = load_images("mask_folder", "train", tiles, shape=(1, 64, 64))
    recipe = load_recipe(write_recipe(tmp_path, epochs=2, progressive_resize_epochs=1))
    model = create_model("unet_8", input_size=(64, 64), width=0.25).train()
    task = SegmentationTask(recipe, spec_of(model), images, images, unet.augment)
    for epoch, side in enumerate((32, 64)):
        seen = []
        watch = model.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        batch = next(iter(task.train_batches(4, epoch)))
        assert torch.isfinite(task.loss(model, batch))
        watch.remove()
        assert [x.shape for x in seen] == [(4, 1, side, side)]


def test_a_thin_mark_survives_halving() -> None:
    images, masks = torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    images[0, 0, 3, :], masks[0, 3, :] = 100.0, 1
    small, marks = halve(images, masks)
    assert torch.equal(small[0, 0, 1], torch.full((4,), 50.0)) and small.sum() == 200
    assert marks.dtype == torch.uint8 and marks[0].tolist() == [[0] * 4, [1] * 4, *[[0] * 4] * 2]


def test_two_processes_train_and_test(tiles: Path, tmp_path: Path) -> None:
    two = train_by_two(write_recipe(tmp_path, epochs=3), tmp_path / "two", "--data", tiles)
    with (tmp_path / "two" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3 and losses[-1] < 0.9 * losses[0]
    weights = tmp_path / "two" / "best.safetensors"
    (row,) = evaluate_model("unet_8", "pytorch", weights=weights, data=tiles)
    assert row.metric is not None and row.metric.n == two["n"]
    assert row.metric.value == pytest.approx(two["test"], abs=1e-3)


def test_processes_share_one_balanced_draw(tiles: Path, tmp_path: Path) -> None:
    """Each takes every other image of the same draw: together they are what one would see."""
    images = load_images("mask_folder", "train", tiles, shape=(1, 64, 64))
    recipe = load_recipe(write_recipe(tmp_path, epochs=1))
    spec = spec_of(create_model("unet_8"))
    task = SegmentationTask(recipe, spec, images, images, unet.augment)
    whole, *shares = (share_of(task, rank, world) for rank, world in ((0, 1), (0, 2), (1, 2)))
    assert sorted(whole) == sorted(shares[0] + shares[1])
    assert has_foreground(images.labels)[whole].mean() > 0.35


def share_of(task: SegmentationTask, rank: int, world: int) -> list[int]:
    """The images that one of several processes draws, as the loop and Fabric have it."""
    torch.manual_seed(0)
    sampler = task.train_batches(4, 0).sampler
    torch.manual_seed(rank)
    if world == 1:
        return list(sampler)
    return list(DistributedSamplerWrapper(sampler, world, rank, shuffle=False))


def test_a_part_without_marks_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_tiles(tmp_path / part, 20, np.random.default_rng(0))
    for mask in (tmp_path / "test/masks").iterdir():
        Image.new("L", (64, 64)).save(mask)
    with pytest.raises(DataError, match="nothing is marked in the 20 test masks"):
        scripts.train(load_recipe(write_recipe(tmp_path, 1)), tmp_path / "run", data=tmp_path)


def test_a_batch_is_no_larger_than_the_data(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_tiles(tmp_path / part, 12, np.random.default_rng(0))
    report = scripts.train(load_recipe(write_recipe(tmp_path, 1)), tmp_path / "run", data=tmp_path)
    assert report.epochs == 1
    assert report.verdicts[0]["code"] == "small-test"


def test_several_classes_train_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        write_tiles(tmp_path / part, 20, rng)
        for number, path in enumerate(sorted((tmp_path / part / "masks").iterdir())):
            marks = np.asarray(Image.open(path)) > 0
            Image.fromarray((marks * (1 + number % 2)).astype(np.uint8)).save(path)
    (tmp_path / "classes.txt").write_text("background\nodd\neven\n")
    out = tmp_path / "run"
    report = scripts.train(load_recipe(write_recipe(tmp_path, 1)), out, data=tmp_path)
    model = create_model("unet_8", weights=report.weights)
    assert model(torch.rand(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    assert report.test is not None and 0 <= report.test <= 1


@pytest.mark.parametrize("classes", [1, 3])
def test_the_loss_is_near_zero_for_the_truth_and_falls_towards_it(classes: int) -> None:
    torch.manual_seed(0)
    masks = torch.randint(0, max(classes, 2), (4, 16, 16), dtype=torch.uint8)
    masks[0] = 0
    layers = [masks == 1] if classes == 1 else [masks == k for k in range(classes)]
    truth = 20 * torch.stack(layers, dim=1).float() - 10
    assert mask_loss(truth, masks) < 1e-3
    assert mask_loss(-truth, masks) > 5
    halfway = torch.zeros_like(truth).requires_grad_()
    loss = mask_loss(halfway, masks)
    loss.backward()
    assert halfway.grad is not None
    assert mask_loss(halfway - 10 * halfway.grad, masks) < loss
    assert 0 < loss - mask_loss(truth, masks) < 2


def test_soft_dice_of_zeros_and_ones_is_dice() -> None:
    rng = np.random.default_rng(0)
    found, wanted = rng.integers(0, 2, (2, 6, 8, 8))
    wanted[2] = 0
    tensors = [torch.from_numpy(m)[:, None].float() for m in (found, wanted)]
    assert soft_dice_loss(*tensors).item() == pytest.approx(
        1 - foreground_dice(found, wanted, 1).mean(), abs=1e-6
    )
    assert soft_dice_loss(tensors[0], torch.zeros_like(tensors[1])) == 0, "nothing is there"


def drawn(sampler: Sampler[int]) -> list[int]:
    return list(sampler)


@pytest.mark.parametrize(("count", "expected"), [(30, 0.5), (210, 0.7), (300, 1.0)])
def test_half_of_what_is_drawn_is_marked_or_more(count: int, expected: float) -> None:
    torch.manual_seed(0)
    foreground = np.arange(300) < count
    indices = drawn(balanced_sampler(foreground))
    assert len(indices) == 300
    assert foreground[indices].mean() == pytest.approx(expected, abs=0.1)


def test_a_draw_depends_on_the_seed_at_its_making_alone() -> None:
    """Processes seed themselves differently afterwards and must still draw the same."""
    foreground = np.arange(300) < 30
    draws = []
    for seed, later in ((0, 1), (0, 2), (3, 1)):
        torch.manual_seed(seed)
        sampler = balanced_sampler(foreground)
        torch.manual_seed(later)
        draws.append(drawn(sampler))
    assert draws[0] == draws[1] != draws[2]


def toy(groups: list[str] | None = None) -> tuple[np.ndarray, ImageSet]:
    wanted = np.zeros((5, 4, 4), np.uint8)
    wanted[:3, :2] = 1
    found = wanted.copy()
    found[1] = 0
    found[2, 0] = 0  # half of the truth: 2 * 4 / (4 + 8)
    found[3, 0, 0] = 1
    images = np.full((5, 1, 4, 4), 80, np.uint8)
    known = None if groups is None else np.array(groups)
    return found, ImageSet("toy", "test", images, wanted, ("defect",), groups=known)


def test_figures_are_those_of_a_count_by_hand(tmp_path: Path) -> None:
    found, images = toy(["dent", "dent", "crack", "free", "free"])
    assert mask_figures(found, images) == pytest.approx(
        {
            "dice": (1 + 0 + 2 / 3) / 3,
            "false_alarms": 0.5,
            "dice crack": 2 / 3,
            "dice dent": 0.5,
        }
    )
    show_predictions(found, images, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert set(mask_figures(*toy())) == {"dice", "false_alarms"}


def test_marked_images_alone_are_scored() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
    found = to_mask(logits)
    wanted = np.zeros((6, 8, 8), np.uint8)
    wanted[:2, :4], wanted[1, 6:] = 1, 2
    assert has_foreground(wanted).tolist() == [True] * 2 + [False] * 4
    scores = foreground_dice(found, wanted, 3)
    assert scores.shape == (2,)
    by_hand = []
    for f, w in zip(found[:2], wanted[:2], strict=True):
        values = [
            2 * ((f == k) & (w == k)).sum() / ((f == k).sum() + (w == k).sum()) for k in (1, 2)
        ]
        by_hand.append(np.mean(values))
    np.testing.assert_allclose(scores, by_hand)
    only_one = np.where(wanted == 2, 0, wanted)
    assert foreground_dice(only_one, only_one, 3).tolist() == [1, 1], "class 2 is in neither"


def test_a_confusion_matrix_counts_pairs() -> None:
    counts = confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
