"""Every command on networks of a user's own: code, ONNX, TorchScript and torch.export's files."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from support.command import Run

NETS = """
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return {"out": self.head(y), "score": y.mean((2, 3))}

class Vector(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 3))

class Decides(Net):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

def bright(outputs, images):
    assert len(outputs) == 2 and images.dtype == np.uint8
    return float((images.mean((1, 2, 3)) > 0).mean())
"""
SHAPE = ("--input-shape", "3x16x24")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code, three files made of it, and photos."""
    here = tmp_path_factory.mktemp("own")
    (here / "nets.py").write_text(NETS)
    scope: dict = {}
    exec(NETS, scope)
    network, x = scope["Net"]().eval(), torch.randn(1, 3, 16, 24)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(here / "net.onnx"), dynamo=False, opset_version=15)
        torch.jit.save(torch.jit.trace(network, x, strict=False), here / "net.pt")
        torch.export.save(torch.export.export(network, (x,)), here / "net.pt2")
    rng = np.random.default_rng(0)
    (here / "photos").mkdir()
    for index in range(8):
        pixels = np.kron(rng.integers(0, 256, (4, 6, 3), np.uint8), np.ones((5, 5, 1), np.uint8))
        Image.fromarray(pixels).save(here / "photos" / f"{index}.png")
    np.savez(here / "vector.npz", input=np.arange(6, dtype=np.float32))
    return here


@pytest.fixture(autouse=True)
def _in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    ("name", "shape", "evidence"),
    [
        ("net.onnx", (), "executed against onnxruntime"),
        ("net.pt", SHAPE, "executed against torchscript"),
        ("net.pt2", (), "executed"),
        ("nets.py:Net", SHAPE, "executed"),
    ],
)
def test_files_are_exported_end_to_end(
    name: str, shape: tuple[str, ...], evidence: str, tmp_path: Path, run: Run
) -> None:
    done = run(
        *("export", name, *shape, "--to", "onnxruntime,torchscript", "--images", "photos"),
        *("--int8", "--out", tmp_path, "--json"),
    )
    assert done.status == 0, done.err
    rows = done.json
    assert [r["status"] for r in rows] == ["ok"] * 3, [r["message"] for r in rows]
    assert {r["evidence"] for r in rows} == {evidence}
    verified = run("verify", tmp_path, "--json")
    assert verified.status == 0 and {r["evidence"] for r in verified.json} == {evidence}
    manifest = json.loads(next(tmp_path.rglob("onnxruntime/float32/manifest.json")).read_text())
    assert [tuple(o["shape"]) for o in manifest["outputs"]] == [(1, 2, 7, 11), (1, 8)]


@pytest.mark.parametrize(("name", "shape"), [("nets.py:Net", SHAPE), ("net.onnx", ())])
def test_info_counts_what_it_costs(name: str, shape: tuple[str, ...], run: Run) -> None:
    done = run("info", name, *shape, "--json")
    assert done.status == 0, done.err
    assert done.json["macs"] == 7 * 11 * (8 * 27 + 2 * 8)
    assert done.json["parameters"] == 8 * 27 + 8 + 16 + 2
    assert run("info", name, *shape).status == 0


def test_info_of_a_published_network(run: Run) -> None:
    done = run("info", "torchvision:resnet18", "--json")
    assert done.json["parameters"] == 11_689_512 and done.json["input_size"] == [224, 224]
    assert 1.8e9 < done.json["macs"] < 1.83e9


RAW = ("--json", "--raw")


def test_run_answers_an_image(run: Run) -> None:
    by_file = run("run", "net.onnx", "--image", "photos/0.png", *RAW).json["outputs"]
    by_code = run("run", "nets.py:Net", *SHAPE, "--image", "photos/0.png", *RAW).json["outputs"]
    for one, other in zip(by_file, by_code, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    vector = run("run", "nets.py:Vector", "--input-shape", "6", "--image", "vector.npz", *RAW)
    assert np.shape(vector.json["outputs"]) == (1, 1, 3)


def test_eval_measures_the_users_metric(run: Run) -> None:
    done = run(
        *("eval", "nets.py:Net", *SHAPE, "--images", "photos", "--metric", "nets.py:bright"),
        *("--to", "pytorch,onnxruntime", "--json"),
    )
    assert done.status == 0, done.err
    assert [row["target"] for row in done.json] == ["pytorch", "onnxruntime"]
    metric = done.json[1]["metric"]
    assert (metric["name"], metric["float"], metric["value"], metric["n"]) == ("bright", 1, 1, 4)


def test_matrix_records_in_a_file_of_its_own(tmp_path: Path, run: Run) -> None:
    words = ("matrix", "--models", "nets.py:Net", *SHAPE, "--to", "torchscript", "--json")
    refused = run(*words)
    assert refused.status == 2 and "--file" in refused.err
    done = run(*words, "--file", tmp_path / "mine.toml", "--images", "photos")
    assert done.status == 0 and done.json[0]["status"] == "ok", done.err
    assert 'model = "Net"' in (tmp_path / "mine.toml").read_text()


def test_layers_of_an_engine_that_tells_nothing_are_compared_with_pytorch(run: Run) -> None:
    done = run("layers", "nets.py:Net", *SHAPE, "--to", "onnxruntime", "--json")
    assert done.status == 0, done.err
    (report,) = done.json
    assert report["layers"] and min(layer["own_sqnr_db"] for layer in report["layers"]) > 80
    done = run("layers", "nets.py:Net", *SHAPE, "--to", "tensorrt")
    assert done.status == 2 and "nothing here runs tensorrt" in done.err


def test_a_bundle_gives_raw_outputs(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "bundle"
    words = ("--to", "onnxruntime", "--images", "photos")
    done = run("bundle", "nets.py:Net", *SHAPE, *words, "--out", out, "--json")
    assert done.status == 0, done.err
    ran = subprocess.run(
        [sys.executable, out / "python" / "run.py", "photos/0.png", "--json", "--golden"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    outputs = json.loads(ran.stdout)["outputs"]
    assert list(outputs) == ["out", "score"] and np.shape(outputs["score"]) == (1, 8)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    assert [o.name for o in session.get_outputs()] == list(outputs)
    (row,) = run("verify", out, "--board", "board.json", "--json").json
    assert (row["status"], row["evidence"]) == ("ok", "on device"), "the export is gone by now"


COLORS = """
import torch
from torch import nn

class Colors(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))[:, :2]
"""
SPEC = """
task = "classification"
classes = ["green", "red"]
dataset = "image_folder"
input_shape = "3x8x8"
std = [255.0]
"""


def test_a_spec_measures_the_tasks_metric(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for index, name in enumerate(("green", "red")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 99, (9, 9, 3), np.uint8)
                pixels[..., index] += 100  # of green pictures the first channel, as Colors reads
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    (tmp_path / "colors.py").write_text(COLORS)
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    words = ("eval", f"{tmp_path}/colors.py:Colors", "--spec", spec, "--data", tmp_path)
    done = run(*words, "--to", "pytorch,onnxruntime", "--limit", 4, "--json")
    assert done.status == 0, done.err
    for row in done.json:
        assert (row["metric"]["name"], row["metric"]["value"], row["metric"]["n"]) == ("top1", 1, 4)
        assert row["evidence"] == "executed"
    folder = tmp_path / "test" / "red"  # as plain images, their folders' names say nothing
    done = run("export", *words[1:4], "--images", folder, "--to", "onnxruntime", "--json")
    assert done.status == 0 and done.json[0]["metric"] is None, done.err
    for text, said in (
        ("task = 'sorting'", "a task is one of"),
        ("classes = ['a']\ncolour = 'rgb'", "colour: Extra inputs are not permitted"),
        ("task = 'classification'", "needs classes"),
        ("task = 'detection'\nclasses = ['a']", "needs head and strides"),
        ("dataset = 'image_folder'", "say the task"),
        ("task = ", "is not TOML"),
    ):
        spec.write_text(text)
        refused = run(*words)
        assert refused.status == 2 and said in refused.err, refused.err


BOXES = """
import torch
from torch import nn

class Boxes(nn.Module):
    def forward(self, x):
        x = nn.functional.avg_pool2d(x, 8)[:, :1] * 0.01
        scores = x + torch.linspace(-2, 3, 64).view(1, 1, 8, 8)
        return torch.cat([x - x, x, x, x, scores, x + 4], 1)
"""
DETECTOR = """
task = "detection"
classes = ["thing"]
input_shape = "3x64x64"
head = "yolov5"
strides = [8]
anchors = [[[12.0, 12.0]]]
"""


def test_a_spec_has_thresholds_of_its_own(tmp_path: Path, run: Run) -> None:
    (tmp_path / "boxes.py").write_text(BOXES)
    (tmp_path / "photos").mkdir()
    photo, spec = tmp_path / "photos" / "a.png", tmp_path / "spec.toml"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(photo)
    network = (f"{tmp_path}/boxes.py:Boxes", "--spec", spec)

    def scores(*words: object) -> list[float]:
        done = run("run", *words, "--image", photo, "--json")
        assert done.status == 0, done.err
        return [found["score"] for found in done.json["detections"]]

    spec.write_text(DETECTOR)
    usual = scores(*network)
    assert len(usual) > 20 and 0.25 < min(usual) < 0.6
    spec.write_text(DETECTOR + "score_threshold = 0.6\nmax_boxes = 9\niou_threshold = 0.1\n")
    few = scores(*network)
    assert 4 < len(few) <= 9 and min(few) > 0.6
    words = ("--images", tmp_path / "photos", "--to", "onnxruntime", "--out", tmp_path / "exports")
    done = run("export", *network, *words, "--json")
    assert done.status == 0, done.err
    (row,) = done.json
    assert row["status"] == "ok" and row["metric"] is None  # the photos have no labels
    folder = Path(row["artifact"]).parent
    head = json.loads((folder / "manifest.json").read_text())["head"]
    assert (head["score_threshold"], head["iou_threshold"], head["max_boxes"]) == (0.6, 0.1, 9)
    assert scores(folder) == pytest.approx(few, abs=1e-4)
    spec.write_text(DETECTOR + "score_threshold = 25\n")
    refused = run("run", *network, "--image", photo)
    assert refused.status == 2 and "score_threshold: Input should be less than 1" in refused.err
    spec.write_text(SPEC + "score_threshold = 0.5\n")
    refused = run("run", *network, "--image", photo)
    assert refused.status == 2 and "thresholds are a detector's" in refused.err


def test_bad_input_is_one_line(folder: Path, run: Run) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "words.txt").write_text("hello")
    (folder / "cut.onnx").write_bytes((folder / "net.onnx").read_bytes()[:300])
    (folder / "cut.pt").write_bytes((folder / "net.pt").read_bytes()[:900])
    (folder / "cut.pt2").write_bytes((folder / "net.pt2").read_bytes()[:900])
    torch.save(torch.nn.Conv2d(3, 4, 3), folder / "module.pt")
    proto = onnx.load(folder / "net.onnx")
    data = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
    onnx.save(proto, folder / "external.onnx", **data)
    (folder / "net.bin").unlink()
    for words, said in (
        (["lost.onnx"], "there is no file lost.onnx"),
        (["words.txt"], "words.txt is no network"),
        (["nets.py:Net", "--input-shape", "16x24x3"], "channels first: 3x16x24?"),
        (["nets.py:Net"], "say the shape of its input"),
        (["module.pt", *SHAPE], "pickled weights or a pickled module"),
        (["external.onnx"], "its data file net.bin is missing"),
        (["cut.onnx"], "is cut off"),
        (["cut.pt", *SHAPE], "truncated"),
        (["cut.pt2"], "is cut off"),
        (["nets.py:Decides", *SHAPE], "branches depend on nothing"),
        (["nets.py:Net", *SHAPE, "--images", "empty"], "there are no images in it"),
        (["nets.py:Net", *SHAPE, "--images", "lost"], "there is no such folder"),
        (["nets.py:Net", *SHAPE, "--metric", "nets.py:lost"], "has no lost"),
    ):
        done = run("export", *words, "--to", "onnxruntime")
        assert done.status == 2 and done.out == "", (words, done.out)
        lines = [line for line in done.err.splitlines() if line.strip()]
        assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], done.err
