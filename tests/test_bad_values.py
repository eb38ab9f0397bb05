"""Numbers that are none, sizes without bounds and files without an end are told by their names."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import edgeark
import numpy as np
import pytest
import torch
from edgeark.core.files import read_entry, read_file
from edgeark.export.prepare import require_answers
from edgeark.training.config import RecipeError, load_recipe
from edgeark.zoo import create_model, save_weights
from edgeark.zoo.weights import WeightsError
from safetensors.torch import load_file, save_file
from support.command import Run

ZERO = Path("/dev/zero")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_weights(create_model("mnist_kpu", width=0.25), tmp_path / "w.safetensors")


def change_spec(path: Path, **fields: Any) -> None:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    spec = {**json.loads(header["edgeark_spec"]), **fields}
    save_file(load_file(path), path, {**header, "edgeark_spec": json.dumps(spec)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": [float("nan")]}, "mean"),
        ({"std": [0.0]}, "std.*greater than 0"),
        ({"std": []}, "mean has 1 channels and std has 0"),
        ({"input_size": [28]}, "input_size"),
        ({"input_size": [28, -1]}, r"input_size\.1: .*greater than 0"),
        ({"input_size": [10**9, 28]}, r"input_size\.0: .*less than"),
        ({"color": "infrared"}, "color: .*'gray', 'rgb'"),
        ({"classes": 3}, "classes: "),
        ({"classes": [["a"]]}, r"classes\.0: "),
        ({"arguments": {"width": {}}}, r"arguments\.width"),
        ({"arguments": {"width": -1.0}}, "does not fit this network"),
        ({"arguments": {"width": float("inf")}}, "arguments"),
        ({"arguments": {"whatever": 1}}, "mnist_kpu.*whatever"),
        ({"strides": [0]}, r"strides\.0: "),
    ],
)
def test_the_spec_of_a_weights_file_is_checked(
    fields: dict[str, Any], message: str, weights: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 255\n1234")
    arguments = ("run", "mnist_kpu", "--weights", weights, "--image", tmp_path / "a.pgm")
    assert run(*arguments).status == 0
    change_spec(weights, **fields)
    done = run(*arguments)
    assert done.status == 2 and done.err.startswith("error: ")
    assert "fault of edgeark's" not in done.err
    with pytest.raises(Exception, match=message):
        create_model("mnist_kpu", weights=weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, weights: Path, run: Run) -> None:
    state = load_file(weights)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[0] = value
    model = create_model("mnist_kpu", width=0.25)
    model.load_state_dict(state)
    save_weights(model, weights)
    with pytest.raises(WeightsError, match=f"{name} holds infinite or undefined values"):
        create_model("mnist_kpu", weights=weights)
    for command in (["eval", "mnist_kpu"], ["export", "mnist_kpu", "--to", "onnxruntime"]):
        done = run(*command, "--weights", weights)
        assert done.status == 2 and "infinite or undefined" in done.err and not done.out


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return (x - 5).log()\n"
    )
    network = f"{tmp_path / 'net.py'}:Net"
    done = run("export", network, "--to", "onnxruntime", "--input-shape", "3x4x4")
    assert done.status == 2 and "holds infinite or undefined values in PyTorch itself" in done.err
    with pytest.raises(Exception, match="output 1 of the network is empty"):
        require_answers([np.ones(3), np.ones((3, 0))])
    with pytest.raises(Exception, match="no outputs"):
        require_answers([])
    assert torch.isfinite(torch.from_numpy(require_answers([np.ones(3)])[0])).all()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("epochs = 0", "epochs"),
        ("epochs = 1000000000000", "epochs"),
        ("epochs = nan", "epochs"),
        ("batch_size = -3", "batch_size"),
        ("batch_size = 100000000000000000000000", "batch_size"),
        ("seed = -1", "seed"),
        ("seed = 99999999999999999999", "seed"),
        ("target_metric = inf", "target_metric"),
        ("model_args = {width = nan}", "model_args"),
        ("model_args = {input_size = [99999999, 1]}", "model_args"),
        ("optim = {lr = nan}", "optim.lr"),
        ("optim = {lr = inf}", "optim.lr"),
        ("optim = {lr = 1e-3, weight_decay = 1e300}", "optim.weight_decay"),
        ("augment = {gamma = inf}", "augment.gamma"),
        ("epochs = [", "cannot read recipe"),
        ("epochs = 1\nepochs = 2", "cannot read recipe"),
        ("a = " + "[" * 2000, "cannot read recipe"),
    ],
)
def test_a_recipe_says_which_field_is_wrong(text: str, field: str, tmp_path: Path) -> None:
    given = {line.partition(" = ")[0] for line in text.splitlines()}
    whole = {"model": '"mnist"', "dataset": '"digits"', "script": '"mnist"', "epochs": "1"}
    whole |= {"batch_size": "8", "optim": "{lr = 1e-3}"}
    lines = [f"{key} = {value}" for key, value in whole.items() if key not in given]
    path = tmp_path / "r.toml"
    path.write_text("\n".join([*lines, text]))
    with pytest.raises(RecipeError, match=field):
        load_recipe(path)


@pytest.mark.skipif(not ZERO.exists(), reason="no /dev/zero")
def test_a_file_without_an_end_is_not_read(tmp_path: Path, run: Run) -> None:
    links = {
        name: tmp_path / name for name in ("a.png", "r.toml", "manifest.json", "w.safetensors")
    }
    for link in links.values():
        link.symlink_to(ZERO)
    os.mkfifo(tmp_path / "pipe.png")
    for command in (
        ["run", "mnist_kpu", "--image", links["a.png"]],
        ["run", "mnist_kpu", "--image", tmp_path / "pipe.png"],
        ["run", "mnist_kpu", "--image", tmp_path],
        ["train", links["r.toml"]],
        ["verify", tmp_path],
        ["run", "mnist_kpu", "--weights", links["w.safetensors"], "--image", links["a.png"]],
    ):
        done = run(*command)
        assert done.status == 2 and done.err.startswith("error: ") and not done.out, command


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="are not read"):
        read_file(path, 4)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10**6))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(read_entry(archive, "zeros", 10**6)) == 10**6
        with pytest.raises(OSError, match="are not read"):
            read_entry(archive, "zeros", 10**6 - 1)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_gives_rows(
    number: int, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors are made here: root sees no read-only folder."""

    def refuse(folder: Path) -> None:
        raise OSError(number, os.strerror(number), str(folder))

    monkeypatch.setattr("edgeark.export.pipeline.staged_folder", refuse)
    (tmp_path / "net.py").write_text("from torch import nn\nNet = lambda: nn.Conv2d(3, 4, 3)\n")
    arguments = ["--to", "onnxruntime,torchscript", "--input-shape", "3x8x8", "--json"]
    done = run("export", f"{tmp_path / 'net.py'}:Net", *arguments, "--out", tmp_path / "out")
    assert done.status == 1
    assert [row["status"] for row in done.json] == ["error", "error"]
    assert all(row["message"].startswith("cannot write ") for row in done.json)


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text("from torch import nn\nNet = lambda: nn.Conv2d(3, 4, 3)\n")
    arguments = ["--to", "onnxruntime", "--input-shape", "3x8x8", "--json"]
    done = run("export", f"{tmp_path / 'net.py'}:Net", *arguments, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert run("verify", tmp_path / "out").status == 0


def test_a_zip_of_images_that_is_broken_inside_is_one_line(tmp_path: Path, run: Run) -> None:
    """The list of its files is whole; what lies before it is not."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/train/a.png", b"a" * 500)
        archive.writestr("labels/train/a.txt", "0 0.5 0.5 0.1 0.1\n")
        archive.writestr("classes.txt", "cat\ndog\n")
        start = archive.getinfo("classes.txt").header_offset
    content = path.read_bytes()
    for at in (start, start + 30 + len("classes.txt")):  # its mark, its data
        path.write_bytes(content[:at] + b"\xff\xff\xff" + content[at + 3 :])
        with zipfile.ZipFile(path) as archive, pytest.raises(OSError, match="cannot be unpacked"):
            for name in archive.namelist():
                read_entry(archive, name)
        done = run("data", path, "--dataset", "yolo_txt")
        assert done.status == 2 and "fault of edgeark's" not in done.err, done.err


@pytest.mark.parametrize("place", ["~nobody-of-this-name/x", "loop"])
def test_a_cache_that_names_no_place_is_one_line(
    place: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEARK_CACHE", place)
    done = run("targets")
    assert done.status == 2 and done.err.startswith("error: $EDGEARK_CACHE is ")
    done = run("doctor")
    assert done.status == 1 and "$EDGEARK_CACHE is" in done.out


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_spec_holds_numbers(value: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\nNet = lambda: nn.Conv2d(3, 4, 3)\n")
    (tmp_path / "spec.toml").write_text(f'input_shape = "3x8x8"\nmean = [1.0, {value}, 3.0]\n')
    done = run("check", f"{tmp_path / 'net.py'}:Net", "--spec", tmp_path / "spec.toml")
    assert done.status == 2 and "mean.1: " in done.err


def test_a_spec_without_an_end_is_not_read(tmp_path: Path, run: Run) -> None:
    (tmp_path / "spec.toml").symlink_to(ZERO)
    (tmp_path / "net.py").write_text("from torch import nn\nNet = lambda: nn.Conv2d(3, 4, 3)\n")
    done = run("check", f"{tmp_path / 'net.py'}:Net", "--spec", tmp_path / "spec.toml")
    assert done.status == 2 and "it is no regular file" in done.err


def test_outputs_that_are_not_the_task_s_are_one_line(tmp_path: Path, run: Run) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nNet = lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4))\n"
    )
    (tmp_path / "spec.toml").write_text(
        'task = "classification"\nclasses = ["a", "b"]\ninput_shape = "3x8x8"\n'
    )
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 255\n1234")
    given = (f"{tmp_path / 'net.py'}:Net", "--spec", tmp_path / "spec.toml")
    done = run("run", *given, "--image", tmp_path / "a.pgm")
    assert done.status == 2 and "not one value for each of 2 classes" in done.err


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": -3}, {"jobs": 0}])
def test_nothing_is_no_proof(given: dict[str, int], tmp_path: Path) -> None:
    """No image compared would be no difference found."""
    network, example = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    with pytest.raises(edgeark.EdgearkError, match="at least one"):
        edgeark.export_model(network, "onnxruntime", example_inputs=example, out=tmp_path, **given)
