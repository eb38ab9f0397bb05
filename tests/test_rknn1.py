"""rknn1: what is written for RKNN-Toolkit 1.7, and its scripts run against a stand-in for it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeark import cli
from edgeark.errors import EdgearkError
from edgeark.export.bundle import write_golden
from edgeark.export.graph import Graph
from edgeark.export.pipeline import export_one, give_python
from edgeark.export.subject import Subject
from edgeark.export.target import Artifact, Conversion
from edgeark.export.targets import find_target, list_targets
from edgeark.export.targets.rknn1 import unshare
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.registry import ModelSpec
from edgeark.zoo.tasks.classification import top_k
from edgeark.zoo.tasks.detection import detect
from edgeark.zoo.tasks.letterbox import letterbox
from edgeark.zoo.tasks.pictures import to_input
from edgeark.zoo.tasks.segmentation import resize_logits, to_mask
from PIL import Image
from rknn1_double import activate
from target_base import prepared
from torch import nn
from zoo_cases import ready

TARGET = "rknn1:rk3399pro"
# One of each: gray and rgb classifiers, masks, boxes by anchors, boxes without (of a bgr network).
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet_v1_025": {"input_size": (128, 160), "width": 0.25},
    "unet_8": {"input_size": (32, 48)},
    "yolov5n": {"input_size": (64, 96), "width": 0.125},
    "yolox_nano": {"input_size": (64, 96), "width": 0.125},
}


def make_network(name: str) -> nn.Module:
    """Small, and with something to say: a detector that sees nothing would prove nothing."""
    model = create_model(name, **NETWORKS[name])
    shape = spec_of(model).input_shape[1:]
    ready(model, *shape)
    x = torch.from_numpy(make_pictures(8, shape, seed=9)).float()
    spec = spec_of(model)
    mean, std = (torch.tensor(v)[:, None, None] for v in (spec.mean, spec.std))
    with torch.no_grad():
        for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
            if conv.bias is not None:  # a head: its channels shall vary around 0
                conv.register_forward_hook(_centre)
        model((x - mean) / std)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        conv._forward_hooks.clear()
    return model


def _centre(conv: nn.Module, _: object, output: torch.Tensor) -> None:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    scale = 2 / output.std((0, 2, 3))
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias.sub_(output.mean((0, 2, 3))).mul_(scale)


def make_pictures(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noise around another level in each channel of each."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (count, shape[0], 1, 1))
    return np.clip(levels + rng.integers(-60, 60, (count, *shape)), 0, 255).astype(np.uint8)


def run(script: Path, *arguments: object, env: dict[str, str], cwd: Path) -> Any:
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return done


def calls_of(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    subject = prepared("mnist", tmp_path_factory.mktemp("graph"))
    return replace(
        subject,
        test=subject.test.head(40),
        reference=[output[:40] for output in subject.reference],
    )


@pytest.fixture(scope="module")
def exported(digits: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an int8 export of ``mnist``, in a place whose name has a blank."""
    out = tmp_path_factory.mktemp("an export")
    row = export_one(digits, find_target(TARGET), "int8", out)
    assert row.status == "ok", row.message
    assert row.artifact is not None
    return row.artifact.parent


def test_is_listed_with_its_chips() -> None:
    names = [name for name in list_targets() if name.startswith("rknn1:")]
    assert names == ["rknn1:rk1808", "rknn1:rk3399pro", "rknn1:rv1109", "rknn1:rv1126"]
    assert find_target(names[0]).evidence.value == "generated"


def test_a_row_claims_nothing_that_was_not_run(digits: Subject, tmp_path: Path) -> None:
    """Its own figures stay empty; those of the files that were handed over have their names."""
    row = export_one(digits, find_target(TARGET), "float16", tmp_path).to_dict()
    assert (row["status"], row["evidence"]) == ("ok", "generated")
    assert [row[key] for key in ("max_abs_error", "sqnr_db", "metric", "run_ms", "placement")] == [
        *(None, None, None, None, None)
    ]
    assert "no runtime or simulator of rknn1:rk3399pro has run it" in row["message"]
    assert [found["file"] for found in row["source_results"]] == ["model.onnx", "model.pt"]
    for found in row["source_results"]:
        assert 0 < found["max_abs_error"] < 1e-4 and found["sqnr_db"] > 100
        assert found["metric"]["value"] == found["metric"]["float"] > 0.9
    folder = Path(row["artifact"]).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source_results"] == row["source_results"]
    assert manifest["outputs"] == [{"shape": [1, 10, 1, 1]}]
    assert not (folder / "dataset.txt").exists(), "float16 is not calibrated"
    golden = np.load(folder / "golden.npz")
    assert sorted(golden.files) == ["input", "pytorch0"]


def test_a_source_that_differs_fails_the_row(
    digits: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(proto: onnx.ModelProto) -> onnx.ModelProto:
        proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
        return proto

    monkeypatch.setattr("edgeark.export.targets.rknn1.unshare", broken)
    row = export_one(digits, find_target(TARGET), "float16", tmp_path)
    assert row.status == "failed"
    assert "max abs error" in row.message


def test_the_networks_are_what_the_old_toolkit_reads(exported: Path) -> None:
    proto = onnx.load(exported / "model.onnx")
    assert (proto.opset_import[0].version, proto.ir_version) == (11, 6)
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 28, 28]
    with zipfile.ZipFile(exported / "model.pt") as file:
        names = file.namelist()
        (version,) = (name for name in names if name.endswith("/version"))
        assert int(file.read(version)) == 3  # 1.10 reads up to 9
    assert not any(name.endswith("debug_pkl") for name in names), "they hold local paths"
    graph = torch.jit.load(str(exported / "model.pt")).inlined_graph
    kinds = {node.kind() for node in graph.nodes()}
    assert not kinds & {"aten::size", "aten::Int", "prim::NumToTensor", "prim::If", "prim::Loop"}
    assert "prim::GetAttr" in kinds, "weights are where the toolkit looks for them"


def test_shared_weights_become_each_convolutions_own(tmp_path: Path) -> None:
    """The exporter reads one of two equal initializers through Identity."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)).eval()
    for conv in model:
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        nn.init.ones_(conv.bias)
    spec = replace(spec_of(create_model("mnist")), input_size=(8, 8))
    proto = onnx.load(Graph(model, spec, tmp_path).onnx(11))
    assert "Identity" in {node.op_type for node in proto.graph.node}
    own = unshare(proto)
    onnx.checker.check_model(own)
    assert {node.op_type for node in own.graph.node} == {"Conv"}
    read = [name for node in own.graph.node for name in node.input[1:]]
    assert len(set(read)) == len(read) == 6


def test_200_training_pictures_to_calibrate_on(exported: Path, digits: Subject) -> None:
    lines = (exported / "dataset.txt").read_text().splitlines()
    assert len(set(lines)) == len(lines) == 200
    pictures = np.stack([np.load(exported / line) for line in lines])
    assert pictures.shape == (200, 28, 28, 1)
    assert np.array_equal(pictures.transpose(0, 3, 1, 2), digits.calibration.images)


@pytest.mark.parametrize("script", ["convert.py", "run_on_board.py"])
def test_scripts_are_python_3_6_in_ascii(script: str, exported: Path) -> None:
    text = (exported / script).read_text()
    ast.parse(text, feature_version=(3, 6))
    assert text.isascii() and max(map(len, text.splitlines())) <= 120


def test_no_registry_and_no_path_of_this_machine_is_named(exported: Path) -> None:
    for path in exported.iterdir():
        if path.suffix in (".py", ".md", ".txt", ".json") and path.name != "log.txt":
            text = path.read_text()
            assert "://" not in text and str(exported.parent) not in text, path.name


def test_converts_by_the_documented_calls(exported: Path, tmp_path: Path) -> None:
    env = activate(tmp_path / "toolkit", calls=tmp_path / "calls")
    done = run(exported / "convert.py", "--out", "a.rknn", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.rknn").exists(), "--out is relative to where one stands"
    (exported / "dropped-by-the-toolkit.json").unlink()
    made, config, load, build, calibrated, export, release = calls_of(tmp_path / "calls")
    assert made == ("RKNN", "__init__", {"verbose": False})
    spec = create_model("mnist").spec
    assert config[2] == {
        **{"mean_values": [list(spec.mean)], "std_values": [list(spec.std)]},
        **{"optimization_level": 3, "target_platform": ["rk3399pro"]},
        **{"quantized_dtype": "asymmetric_affine-u8", "quantized_algorithm": "normal"},
        **{"batch_size": 100, "epochs": -1},
    }
    assert load[1:] == ("load_onnx", {"model": "model.onnx"})
    assert build[2] == {"do_quantization": True, "dataset": "dataset.txt", "pre_compile": False}
    assert calibrated[2] == {"pictures": 200}
    assert export[2] == {"export_path": str(tmp_path / "a.rknn")}
    assert release[1] == "release"


def test_the_other_route_without_quantisation(exported: Path, tmp_path: Path) -> None:
    env = activate(tmp_path / "toolkit", calls=tmp_path / "calls")
    options = ["--route", "pytorch", "--no-quantization", "--pre-compile", "--verbose"]
    out = tmp_path / "a.rknn"
    done = run(exported / "convert.py", *options, "--out", out, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (exported / "dropped-by-the-toolkit.json").unlink()
    made, config, load, build, *_ = calls_of(tmp_path / "calls")
    assert made[2] == {"verbose": True}
    assert "quantized_dtype" not in config[2]
    assert load[1:] == ("load_pytorch", {"model": "model.pt", "input_size_list": [[1, 28, 28]]})
    assert build[2] == {"do_quantization": False, "pre_compile": True}


@pytest.mark.parametrize(
    ("options", "settings", "status", "words"),
    [
        ([], {"fail": "load_onnx"}, 1, "error: load_onnx failed (-1)"),
        ([], {"fail": "build"}, 1, "error: build failed (-1)"),
        (["--simulate", "golden.npz", "--pre-compile"], {}, 2, "leave --simulate or --pre-compile"),
        (["--route", "caffe"], {}, 2, "invalid choice"),
        ([], None, 1, "error: RKNN-Toolkit 1.7 is not in this Python"),
    ],
    ids=["load", "build", "contradiction", "usage", "no toolkit"],
)
def test_a_failure_is_one_line_and_no_file(
    options: list[str],
    settings: dict[str, str] | None,
    status: int,
    words: str,
    exported: Path,
    tmp_path: Path,
) -> None:
    env = {} if settings is None else activate(tmp_path / "toolkit", **settings)
    out = tmp_path / "a.rknn"
    done = run(exported / "convert.py", *options, "--out", out, env=env, cwd=exported)
    assert done.returncode == status
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not out.exists()


def test_the_second_toolkit_is_told_from_the_first(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "rknn").mkdir()
    (tmp_path / "rknn" / "api.py").write_text("class RKNN:\n    pass\n")
    env = {"PYTHONPATH": str(tmp_path)}
    done = run(exported / "convert.py", "--out", tmp_path / "a.rknn", env=env, cwd=tmp_path)
    assert done.returncode == 1 and "this is RKNN-Toolkit2" in done.stderr


def convert(name: str, folder: Path) -> tuple[Graph, ModelSpec, Path, dict[str, str]]:
    """A kit, converted by the stand-in, and what a process on the board finds."""
    model = make_network(name)
    spec = spec_of(model)
    for part in ("graph", "kit"):
        (folder / part).mkdir()
    graph, kit = Graph(model, spec, folder / "graph"), folder / "kit"
    pictures = make_pictures(10, spec.input_shape[1:])
    job = Conversion(graph, "int8", kit, folder / "log.txt", pictures)
    find_target(TARGET).convert(job)
    write_golden(kit, pictures, [], graph.reference(pictures))
    env = activate(folder / "toolkit", calls=folder / "calls")
    done = run(kit / "convert.py", "--simulate", kit / "golden.npz", env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    errors = [float(line.split()[4]) for line in done.stdout.splitlines() if "at most" in line]
    wanted = graph.reference(pictures)
    assert len(errors) == len(wanted)
    assert all(e < 1e-3 * max(1, np.abs(w).max()) for e, w in zip(errors, wanted, strict=True))
    return graph, spec, kit, activate(folder / "board", board=1)


def expected(spec: ModelSpec, graph: Graph, picture: np.ndarray) -> dict[str, Any]:
    """The answer by the zoo's own pre-processing and decoding."""
    if spec.task == "detection":
        centred = bool(spec.anchors)
        x, mapping = letterbox(picture, spec.input_size, spec.color, centred=centred)
        return {"detections": detect(spec, graph.reference(x), mapping)}
    (output,) = graph.reference(to_input(picture, spec.input_size, spec.in_channels))
    if spec.task == "classification":
        return {"classes": top_k(output, spec.classes)[0]}
    return {"mask": to_mask(resize_logits(output, picture.shape[:2]))[0]}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_board_answers_as_edgeark_does(name: str, tmp_path: Path) -> None:
    """Pictures of other sizes than the network's: file, gray array, one that is only enlarged."""
    graph, spec, kit, env = convert(name, tmp_path)
    shapes = [(71, 50, 3), (40, 90), (20, 31, 3)]
    pictures = [
        make_pictures(1, (s[2] if s[2:] else 1, *s[:2]), seed)[0].transpose(1, 2, 0).reshape(s)
        for seed, s in enumerate(shapes)
    ]
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    for letter, picture in zip("bc", pictures[1:], strict=True):
        np.save(tmp_path / f"{letter}.npy", picture)
    files = ["a.png", "b.npy", "c.npy"]
    done = run(kit / "run_on_board.py", *files, "--loops", 3, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *answers, timing = map(json.loads, done.stdout.splitlines())
    assert timing["loops"] == 3 and timing["median_ms"] >= timing["least_ms"] > 0
    found = 0
    for file, picture, answer in zip(files, pictures, answers, strict=True):
        assert answer.pop("picture") == file and answer.pop("ms") > 0
        found += compare(expected(spec, graph, picture), answer)
    assert found > len(files), "the network has nothing to say"


def compare(wanted: dict[str, Any], answer: dict[str, Any]) -> int:
    """Equal but for float rounding; how much there was to compare."""
    (kind,) = answer
    assert list(wanted) == [kind]
    if kind == "mask":
        size, runs = answer["mask"]["size"], answer["mask"]["runs"]
        mask = np.repeat(*np.array(runs).T).reshape(size)
        assert mask.shape == wanted["mask"].shape
        assert (mask != wanted["mask"]).mean() < 0.002  # logits at 0 by rounding
        return len(runs)
    assert len(answer[kind]) == len(wanted[kind])
    for got, right in zip(answer[kind], wanted[kind], strict=True):
        assert got.keys() == right.keys()
        for key, value in right.items():
            assert got[key] == (
                value if isinstance(value, (str, int)) else pytest.approx(value, rel=1e-3, abs=1e-3)
            )
    return len(answer[kind])


def test_digits_on_the_board_are_read_as_pytorch_reads_them(
    exported: Path, digits: Subject, tmp_path: Path
) -> None:
    """Without pictures it checks the golden ones; with them, the accuracy is PyTorch's."""
    model = tmp_path / "model.rknn"
    env = activate(tmp_path / "pc")
    done = run(exported / "convert.py", "--out", model, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (exported / "dropped-by-the-toolkit.json").unlink()
    script, env = exported / "run_on_board.py", activate(tmp_path / "board", board=1)
    done = run(script, "--model", model, env=env, cwd=tmp_path)
    golden = json.loads(done.stdout)
    assert golden["pictures"] == 8
    assert golden["max_abs_error"][0] < 1e-4 and golden["least_cosine"][0] > 0.9999
    names = [f"{index}.npy" for index in range(len(digits.test))]
    for name, picture in zip(names, digits.test.images, strict=True):
        np.save(tmp_path / name, picture[0])
    done = run(script, *names, "--model", model, env=env, cwd=tmp_path)
    answers = [json.loads(line)["classes"][0]["index"] for line in done.stdout.splitlines()]
    assert answers == digits.reference[0].reshape(40, -1).argmax(axis=1).tolist()


def test_a_board_on_usb_has_to_be_named(exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.rknn"
    env = activate(tmp_path / "pc", calls=tmp_path / "calls", simulator=0)
    run(exported / "convert.py", "--out", model, env=env, cwd=tmp_path)
    (exported / "dropped-by-the-toolkit.json").unlink()
    script = exported / "run_on_board.py"
    done = run(script, "--model", model, env=env, cwd=tmp_path)
    assert done.returncode == 1 and "name it with --target" in done.stderr
    options = ["--target", "rk3399pro", "--device-id", "X1"]
    done = run(script, "--model", model, *options, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    started = [call[2] for call in calls_of(tmp_path / "calls") if call[1] == "init_runtime"]
    assert started[-1] == {"target": "rk3399pro", "device_id": "X1"}


def test_colour_pictures_are_rgb_files_and_a_bgr_network_swaps_them(tmp_path: Path) -> None:
    _, spec, kit, _ = convert("yolox_nano", tmp_path)
    assert spec.color == "bgr"
    lines = (kit / "dataset.txt").read_text().splitlines()
    seen = np.stack([np.asarray(Image.open(kit / line)) for line in lines])
    pictures = make_pictures(10, spec.input_shape[1:])
    assert np.array_equal(seen[..., ::-1].transpose(0, 3, 1, 2), pictures)
    (config,) = (call[2] for call in calls_of(tmp_path / "calls") if call[1] == "config")
    assert config["reorder_channel"] == "2 1 0"
    assert config["batch_size"] == 10


@pytest.fixture(scope="module")
def toolkit_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own that has the stand-in, and what that needs, installed."""
    folder = tmp_path_factory.mktemp("toolkit")
    venv.create(folder / "venv", symlinks=True)
    paths = activate(folder / "packages")["PYTHONPATH"].split(os.pathsep)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "toolkit.pth").write_text("\n".join([*paths, *ours]) + "\n")
    return folder / "venv" / "bin" / "python"


@pytest.mark.parametrize(("has_simulator", "evidence"), [("1", "simulated"), ("0", "compiled")])
def test_a_toolkit_of_the_users_converts_and_is_compared(
    has_simulator: str,
    evidence: str,
    digits: Subject,
    toolkit_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RKNN1_SIMULATOR", has_simulator)
    target = find_target(TARGET)
    give_python([target], toolkit_python)
    row = export_one(digits, target, "int8", tmp_path)
    assert (row.status, row.evidence) == ("ok", evidence), row.message
    assert row.artifact is not None and row.artifact.name == "model.rknn"
    assert (row.parity is not None) == (evidence == "simulated") == (row.metric is not None)
    if row.parity and row.run_ms:
        assert row.parity.max_abs_error < 1e-4 and row.run_ms > 0
    names = {path.name for path in row.artifact.parent.iterdir()}
    assert "dropped-by-the-toolkit.json" not in names
    assert "wrote" in (row.artifact.parent / "log.txt").read_text()


def test_a_failing_toolkit_is_an_error_with_its_words(
    digits: Subject, toolkit_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RKNN1_FAIL", "build")
    target = find_target(TARGET)
    give_python([target], toolkit_python)
    row = export_one(digits, target, "float16", tmp_path)
    assert (row.status, row.evidence) == ("error", None)
    assert "rknn1: convert failed: it ended with status 1" in row.message
    assert "build failed (-1)" in row.message
    assert row.log is not None and "told to fail" in row.log.read_text()
    assert not list(tmp_path.rglob("convert.py"))


def test_a_python_without_the_toolkit_says_so(digits: Subject, tmp_path: Path) -> None:
    target = find_target(TARGET)
    give_python([target], Path(sys.executable))
    row = export_one(digits, target, "float16", tmp_path)
    assert row.status == "error" and "RKNN-Toolkit 1.7 is not in this Python" in row.message


def test_a_python_is_for_those_targets_alone_that_take_one(tmp_path: Path) -> None:
    with pytest.raises(
        EdgearkError, match="is for rknn1 and tensorrt alone; onnxruntime needs none"
    ):
        give_python([find_target("onnxruntime")], Path(sys.executable))
    with pytest.raises(EdgearkError, match="there is no such program"):
        give_python([find_target(TARGET)], tmp_path / "python")


def test_the_command_line_prints_the_handover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["edgeark", "export", "mnist", "--to", TARGET, "--limit", "8"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["evidence"] == "generated" and len(row["source_results"]) == 2


def test_a_converted_artifact_says_so() -> None:
    target, folder = find_target(TARGET), Path()
    for converted, evidence in ((True, "compiled"), (False, "generated")):
        artifact = Artifact(TARGET, "int8", folder, (), {"converted": converted})
        assert target.evidence_of(artifact, None).value == evidence
