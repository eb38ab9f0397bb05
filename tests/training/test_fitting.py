"""A training that fits its data: steps, transferred features, and what a result is worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.training.config import load_recipe
from edgeark.training.fitting import fit_to_data
from edgeark.training.verdicts import judge_classifier, wilson_interval
from edgeark.zoo import create_model
from edgeark.zoo.registry import head_tensors, transfer_features
from edgeark.zoo.weights import WeightsError
from support import odd_folders as odd
from support.command import Run


@pytest.mark.parametrize(("count", "steps"), [(48, 1000), (256, 1000), (5_000, 30 * 156)])
def test_steps_decide_how_long_ones_own_data_is_trained_on(count: int, steps: int) -> None:
    recipe = load_recipe("mobilenet_v1_050", dataset="image_folder")
    fitted = fit_to_data(recipe, count)
    taken = fitted.epochs * (count // fitted.batch_size)
    assert steps <= taken < 1.1 * steps + 1
    assert fitted.optim.warmup_epochs / fitted.epochs == pytest.approx(0.03)
    if count == 48:
        assert fitted.batch_size == 16 and fitted.optim.lr == pytest.approx(3e-3 / 2**0.5)
    public = load_recipe("mobilenet_v1_050")
    assert fit_to_data(public, 1465) == public, "the recipe is for this very data"
    assert fit_to_data(public, 10).batch_size == 10


def test_a_pretrained_network_takes_other_classes() -> None:
    trained = create_model("mobilenet_v1_025", pretrained=True)
    model = create_model("mobilenet_v1_025", pretrained=True, num_classes=4)
    head = head_tensors(model)
    assert head == {key for key in head if key.startswith("head")} and head
    own = model.state_dict()
    for key, value in trained.state_dict().items():
        assert (key in head) or torch.equal(own[key], value)
    assert own[next(iter(head))].shape[0] == 4
    assert model(torch.zeros(1, 3, 128, 128)).shape[1] == 4


def test_the_head_is_not_taken_even_where_it_fits() -> None:
    torch.manual_seed(0)
    trained, model = (create_model("mnist_kpu", width=0.25) for _ in range(2))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = transfer_features(model, trained.state_dict(), "a test")
    assert set(found.fresh) == head_tensors(model)
    for key in found.fresh:
        assert torch.equal(model.state_dict()[key], before[key])
    for key in found.taken:
        assert torch.equal(model.state_dict()[key], trained.state_dict()[key])
    with pytest.raises(WeightsError, match="too few to start from"):
        transfer_features(create_model("mobilenet_v1_025"), trained.state_dict(), "a test")


def test_verdicts_on_a_classifier() -> None:
    labels = np.repeat([0, 1], [60, 40])
    assert judge_classifier(0.9, labels, ("a", "b")) == []
    codes = [v.code for v in judge_classifier(0.62, labels, ("a", "b", "c"))]
    assert codes == ["untested-class", "chance-level"]
    (small,) = judge_classifier(0.95, labels[50:70], ("a", "b"))
    assert small.code == "small-test" and "between" in small.message
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)


def test_the_command_trains_on_a_folder_with_what_it_is_told(tmp_path: Path, run: Run) -> None:
    """Two epochs from shipped features, at another size; a line an epoch, and verdicts."""
    odd.class_folders(tmp_path / "in")
    train = ("train", "mobilenet_v1_025", "--dataset", "image_folder", "--data", tmp_path / "in")
    done = run(*train, "--out", tmp_path / "run", "--size", "128x160", "--device", "cpu",
               "--epochs", "2", "--json")  # fmt: skip
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert report["pretrained"]["source"] == "the weights of mobilenet_v1_025"
    assert all(name.startswith("head") for name in report["pretrained"]["fresh"])
    assert "small-test" in {verdict["code"] for verdict in report["verdicts"]}
    assert json.loads((tmp_path / "run/result.json").read_text())["verdicts"]
    weights = tmp_path / "run/best.safetensors"
    exported = run("export", "mobilenet_v1_025", "--weights", weights, "--data", tmp_path / "in",
                   "--to", "onnxruntime", "--out", tmp_path / "exports")  # fmt: skip
    assert "as its training said" in " ".join(exported.err.split())
    (manifest,) = (tmp_path / "exports").rglob("manifest.json")
    document = json.loads(manifest.read_text())
    said = document["training_verdicts"]
    assert document["license"] == "", "the file's own, which is not known"
    assert any("test images are few" in line for line in said)
    lines = " ".join(done.err.split())
    assert "epoch 1/2" in lines and "epoch 2/2" in lines and "test images are few" in lines
    model = create_model("mobilenet_v1_025", weights=report["weights"])
    assert model(torch.zeros(1, 3, 128, 160)).shape[1] == 2
    assert run(*train, "--size", "4,4").status == 2
    assert run(*train, "--pretrained", "nowhere").status == 2


def test_recipes_are_listed(run: Run) -> None:
    rows = json.loads(run("recipes", "--json").out)
    assert {"mnist", "unet_16", "yolov5n_bccd"} <= {row["name"] for row in rows}
    assert "sign_digits" in run("recipes").out
