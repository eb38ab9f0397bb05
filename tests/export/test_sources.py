"""Networks of any origin: a user's code, timm, torchvision, and files of PyTorch's."""

from __future__ import annotations

import pickle
import textwrap
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError, ModelError
from edgeark.export.graph.files import Graph, run_pytorch
from edgeark.export.results.interface import resize_facts
from edgeark.export.sources import InputOptions, SourceError, open_source, read_state_dict
from edgeark.export.sources.samples import noise_samples, read_samples, split_files
from edgeark.export.tasks import get_task
from edgeark.zoo.tasks.letterbox import GREY
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

NETS = """
import sys
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x)
def made():
    return Net()
def needy(a, b):
    return Net()
def wrong():
    return 3
def broken():
    raise KeyError("lost")
def leaves():
    sys.exit(0)
class Words(Net):
    def forward(self, x):
        return "done"
class Nothing(Net):
    def forward(self, x):
        return {"a": None}
number = 3
"""
RGB = InputOptions(shapes="3x8x8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source_nets.py").write_text(textwrap.dedent(NETS))
    (tmp_path / "bad_net.py").write_text("raise RuntimeError('no')\n")
    (tmp_path / "quits.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


@pytest.mark.parametrize("name", ["source_nets.py:Net", "source_nets:made"])
def test_a_users_network_is_found_by_file_and_by_module(here: Path, name: str) -> None:
    source = open_source(name, InputOptions(shapes="3x20x10"))
    assert type(source.model).__name__ == "Net" and not source.model.training
    assert source.spec.input_shapes == ((1, 3, 20, 10),)
    assert (source.name, source.reference) == (name.rpartition(":")[2], "pytorch")


def test_a_network_of_the_zoo_knows_its_size() -> None:
    assert open_source("mnist").spec.input_shapes == ((1, 1, 28, 28),)
    source = open_source("yolov5n", InputOptions(shapes="1x64x96"))
    assert source.spec.input_shape == (1, 1, 64, 96)


def test_another_size_keeps_the_weights_that_fit() -> None:
    """Of those that do not, nothing is measured on the data set that they would know."""
    shipped, smaller = (
        open_source("yolov5n_relu", InputOptions(shapes=shape)) for shape in (None, "3x64x96")
    )
    assert smaller.spec.input_shape == (1, 3, 64, 96) and smaller.spec.dataset == "bccd"
    states = (source.model.state_dict() for source in (shipped, smaller))
    assert all(torch.equal(*pair) for pair in zip(*(s.values() for s in states), strict=True))
    for other in (open_source("mnist", InputOptions(shapes="1x40x40")), open_source("yolov5s")):
        assert other.spec.dataset == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("source_nets.py:Nets", "has no Nets; it has Net, Words"),
        ("source_nets:number", "int, not a network"),
        ("source_nets:broken", "KeyError: 'lost'"),
        ("source_nets:leaves", "it ends the program"),
        ("source_nets:wrong", "gives a int"),
        ("source_nets:needy", "needs a, b:"),
        ("source_nets:Words", "returns a str, and no tensor in it"),
        ("source_nets:Nothing", "returns a dict with the keys a, and no tensor"),
        ("nowhere.py:Net", "no file nowhere.py"),
        ("nowhere:Net", "ModuleNotFoundError"),
        ("bad_net.py:Net", "RuntimeError: no"),
        ("quits.py:Net", "it ends the program"),
        (":Net", "MODULE:FACTORY"),
        ("lost.onnx", "there is no file"),
        ("lost.pt", "there is no file"),
        ("source_nets.py", "FILE.py:FACTORY"),
        ("torchvision:resnet81", "did you mean resnet18"),
        ("timm:vit_tinny_patch16_224", "did you mean vit_tiny_patch16_224"),
    ],
)
def test_what_is_no_network_gets_one_line(here: Path, name: str, words: str) -> None:
    with pytest.raises(SourceError) as error:
        open_source(name, RGB)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean mnist"):
        open_source("mnst")


@pytest.mark.parametrize("shape", ["3x0x224", "axbxc", "", "a=3x4,a=3x4", "3x224x", "1x2x3x4x5x6"])
def test_a_shape_of_another_form(here: Path, shape: str) -> None:
    with pytest.raises(SourceError, match="write 3x224x224, or by name"):
        open_source("source_nets:Net", InputOptions(shapes=shape or "x"))


def test_channels_last_is_asked_about(here: Path) -> None:
    with pytest.raises(SourceError, match="channels first: 3x64x64"):
        open_source("source_nets:Net", InputOptions(shapes="64x64x3"))
    with pytest.raises(SourceError, match="say the shape of its input"):
        open_source("source_nets:Net")


class Nested(nn.Module):
    """Outputs as networks of practice have them."""

    def forward(self, x: Tensor) -> dict[str, object]:
        pair = namedtuple("Pair", "score mask")
        return {"out": x * 2, "aux": [x + 1, (x - 1, None)], "pair": pair(x.mean((2, 3)), x)}


def test_outputs_are_kept_in_order_and_named() -> None:
    source = open_source(Nested(), InputOptions(shapes="3x4x4"))
    assert source.model.output_names == (
        *("out", "aux.0", "aux.1.0"),
        *("pair.score", "pair.mask"),
    )
    x = torch.ones(1, 3, 4, 4)
    assert [float(o.mean()) for o in source.model(x)] == [2, 2, 0, 1, 1]


class Pair(nn.Module):
    """Two inputs, one of them a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(10, 4)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return self.conv(image).mean((2, 3)) + self.linear(other)


def test_several_inputs_by_name(tmp_path: Path) -> None:
    source = open_source(Pair(), InputOptions(shapes="image=3x8x8,other=10"))
    assert source.spec.input_names == ("image", "other")
    assert source.spec.input_shapes == ((1, 3, 8, 8), (1, 10))
    samples = noise_samples(source.spec, 3)
    (answer,) = run_pytorch(source.model, source.spec, samples)
    wanted = source.model(torch.tensor(samples["image"]), torch.tensor(samples["other"]))
    np.testing.assert_allclose(answer, wanted.detach(), atol=1e-6)
    network = Graph(source.model, source.spec, tmp_path).network
    assert len(network.input_shapes) == 2


@pytest.mark.parametrize(
    ("module", "shape", "wanted"),
    [
        (nn.Linear(7, 2), "7", (1, 7)),
        (nn.Conv1d(2, 3, 3), "2x50", (1, 2, 50)),
        (nn.Conv1d(1, 3, 3), "1x1x50", (1, 1, 50)),
        (nn.Conv2d(1, 3, 3), "1x30x50", (1, 1, 30, 50)),
        (nn.Conv2d(4, 3, 3), "1x4x30x50", (1, 4, 30, 50)),
        (nn.Conv3d(3, 2, 3), "3x8x9x10", (1, 3, 8, 9, 10)),
        (nn.Conv3d(3, 2, 3), "1x3x8x9x10", (1, 3, 8, 9, 10)),
    ],
)
def test_one_to_five_dimensions(module: nn.Module, shape: str, wanted: tuple[int, ...]) -> None:
    source = open_source(module, InputOptions(shapes=shape))
    assert source.spec.input_shapes == (wanted,)
    assert bool(source.spec.inputs) != (wanted == (1, 1, 30, 50))


def test_mean_and_std_are_in_the_units_of_the_image() -> None:
    options = InputOptions(shapes="3x8x8", mean=(1, 2, 3), std=(4,), color="bgr")
    spec = open_source(nn.Conv2d(3, 1, 1), options).spec
    assert (spec.mean, spec.std, spec.color) == ((1, 2, 3), (4, 4, 4), "bgr")
    for wrong, words in [
        ({"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}, "multiply them by 255"),
        ({"mean": (1, 2)}, "--mean has 2 values, the image 3 channels"),
        ({"std": (0,), "mean": (9,)}, "larger than 0"),
        ({"color": "gray"}, "has 3 channels"),
    ]:
        with pytest.raises(SourceError, match=words):
            open_source(nn.Conv2d(3, 1, 1), InputOptions(shapes="3x8x8", **wrong))


def test_an_image_is_resized_by_the_rule_that_is_named() -> None:
    image = np.full((10, 40, 3), 200, np.uint8)
    task = get_task("raw")
    for rule in ("stretch", "letterbox"):
        spec = open_source(nn.Conv2d(3, 1, 1), InputOptions(shapes="3x8x8", resize=rule)).spec
        x = task.preprocess(spec, image).x
        assert (x == 200).all() == (rule == "stretch")
        assert resize_facts(spec).rule == rule
    assert (x[0, 0, [0, 2, 5, 7], 0] == GREY).all() and (x[0, 0, 3:5] == 200).all()


@pytest.mark.parametrize(
    ("named", "options", "words"),
    [
        (nn.Conv2d(3, 1, 1), {"task": "segmentation"}, "segmentation takes images by stretch"),
        (nn.Conv2d(3, 1, 1), {"task": "classification", "dataset": "image_folder"}, "read by str"),
        (nn.Linear(8, 8), {"shapes": "8"}, "--resize is for one image of 1 or 3 channels"),
        ("mnist", {"shapes": None}, "mnist says itself how it is fed: leave --resize out"),
    ],
)
def test_a_resize_that_nothing_could_follow_is_refused(
    named: str | nn.Module, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(named, InputOptions(**{"shapes": "3x8x8", "resize": "letterbox"} | options))


# Files


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


@pytest.mark.parametrize("kind", ["torchscript", "program"])
def test_files_of_pytorch(kind: str, tmp_path: Path) -> None:
    model, x = small(), torch.randn(1, 3, 8, 8)
    if kind == "torchscript":
        torch.jit.save(torch.jit.trace(model, x), path := tmp_path / "net.pt")
    else:
        torch.export.save(torch.export.export(model, (x,)), path := tmp_path / "net.pt2")
    source = open_source(path, RGB if kind == "torchscript" else None)
    assert source.reference == ("torchscript" if kind == "torchscript" else "pytorch")
    torch.testing.assert_close(source.model(x), model(x))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)


def test_pickles_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(small(), "module.pt")
    torch.save({"state_dict": {"a": Malicious()}}, "evil.pth")
    Path("bare.pt").write_bytes(pickle.dumps(Malicious()))
    Path("cut.pt").write_bytes(Path("module.pt").read_bytes()[:200])
    for name in ("module.pt", "evil.pth", "bare.pt", "cut.pt"):
        with pytest.raises(SourceError) as error:
            open_source(name, RGB)
        assert "\n" not in str(error.value) and name in str(error.value)
        with pytest.raises(SourceError):
            read_state_dict(Path(name))
    assert not Path("executed").exists()
    with pytest.raises(SourceError, match=r"torch.save\(model.state_dict\(\), FILE\)"):
        read_state_dict(Path("module.pt"))


def test_a_program_is_loaded_without_its_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its entries that torch.save wrote becomes a pickle that would run."""
    monkeypatch.chdir(tmp_path)
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 3, 8, 8),)), "net.pt2")
    torch.save(Malicious(), "payload")
    replaced = 0
    with zipfile.ZipFile("net.pt2") as good, zipfile.ZipFile("evil.pt2", "w") as evil:
        for entry in good.infolist():
            content = good.read(entry)
            if content[:2] == b"PK":
                content, replaced = Path("payload").read_bytes(), replaced + 1
            evil.writestr(entry, content, zipfile.ZIP_STORED)
    assert replaced
    with pytest.raises(SourceError, match=r"evil\.pt2 is not a torch\.export program"):
        open_source("evil.pt2")
    assert not Path("executed").exists()


@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_weights_of_training_scripts(here: Path, wrap: str, prefix: str) -> None:
    state = {"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.randn(4)}
    named = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({wrap: named, "epoch": 3} if wrap else named, here / "w.pth")
    source = open_source("source_nets:Net", RGB, weights=here / "w.pth")
    torch.testing.assert_close(source.model.state_dict()["conv.bias"], state["conv.bias"])


def test_weights_that_do_not_fit(here: Path) -> None:
    save_file(
        {"conv.weight": torch.zeros(4, 3, 5, 5), "conv.bias": torch.zeros(4)}, "w.safetensors"
    )
    with pytest.raises(SourceError, match=r"conv.weight is \(4, 3, 5, 5\) there and"):
        open_source("source_nets:Net", RGB, weights=here / "w.safetensors")
    save_file({"fc.weight": torch.zeros(4)}, "v.safetensors")
    with pytest.raises(SourceError, match=r"it has no conv\.weight; it has fc\.weight"):
        open_source("source_nets:Net", RGB, weights=here / "v.safetensors")
    with pytest.raises(SourceError, match="there is no such file"):
        open_source("source_nets:Net", RGB, weights=here / "lost.pth")


# Samples


def test_images_are_split_once_and_for_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for group, count in (("a", 6), ("b", 3)):
        (tmp_path / group).mkdir()
        for index in range(count):
            pixels = rng.integers(0, 256, (9, 7, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / group / f"{index}.png")
    spec = open_source(nn.Conv2d(3, 1, 1), RGB).spec
    calibration, test = split_files(tmp_path, spec)
    assert not set(calibration) & set(test) and len(calibration) + len(test) == 9
    assert {path.parent.name for path in test[:2]} == {"a", "b"}, "a head is stratified"
    assert split_files(tmp_path, spec) == (calibration, test)
    assert read_samples(test, spec, 3).shape == (3, 3, 8, 8)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    spec = open_source(nn.Conv2d(3, 1, 1), RGB).spec
    with pytest.raises(EdgearkError, match="there are no images in it"):
        split_files(tmp_path, spec)
    with pytest.raises(EdgearkError, match="there is no such folder"):
        split_files(tmp_path / "lost", spec)
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(EdgearkError, match=r"cannot read the image .*page\.jpg"):
        read_samples(split_files(tmp_path, spec)[1], spec, None)


def test_tensors_come_from_arrays(tmp_path: Path) -> None:
    spec = open_source(Pair(), InputOptions(shapes="image=3x8x8,other=10")).spec
    np.savez(tmp_path / "a.npz", image=np.ones((2, 3, 8, 8)), other=np.ones((2, 10)))
    records = read_samples(split_files(tmp_path, spec)[1], spec, None)
    assert records.shape == (2,) and records["other"].shape == (2, 10)
    np.savez(tmp_path / "a.npz", image=np.ones((2, 3, 8, 8)))
    with pytest.raises(EdgearkError, match="has no array 'other'; it has image"):
        read_samples(split_files(tmp_path, spec)[1], spec, None)
    np.savez(tmp_path / "a.npz", image=np.full((3, 8, 8), np.nan), other=np.ones(10))
    with pytest.raises(EdgearkError, match="not finite"):
        read_samples(split_files(tmp_path, spec)[1], spec, None)
