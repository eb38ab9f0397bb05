"""rknn1's scripts, run against a stand-in for RKNN-Toolkit 1.7 and for the board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.prepare import EvalContext
from edgeark.export.results.folder import write_golden
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.export.tasks import get_task
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.spec import ModelSpec
from PIL import Image
from support.rknn1_cases import TARGET, export_digits, few_digits
from support.rknn1_double import activate
from support.speaking import NETWORKS, make_network


def make_images(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
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
def digits() -> EvalContext:
    return few_digits()


@pytest.fixture(scope="module")
def exported(digits: EvalContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_digits(digits, tmp_path_factory.mktemp("an export"))


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
    assert calibrated[2] == {"images": 200}
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
    images = make_images(10, spec.input_shape[1:])
    job = Conversion(graph, "int8", kit, folder / "log.txt", images)
    find_target(TARGET).convert(job)
    write_golden(kit, images, [], graph.reference(images))
    env = activate(folder / "toolkit", calls=folder / "calls")
    done = run(kit / "convert.py", "--simulate", kit / "golden.npz", env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    errors = [float(line.split()[4]) for line in done.stdout.splitlines() if "at most" in line]
    wanted = graph.reference(images)
    assert len(errors) == len(wanted)
    assert all(e < 1e-3 * max(1, np.abs(w).max()) for e, w in zip(errors, wanted, strict=True))
    return graph, spec, kit, activate(folder / "board", board=1)


def expected(spec: ModelSpec, graph: Graph, image: np.ndarray) -> dict[str, Any]:
    """The answer by the zoo's own pre-processing and decoding."""
    task = get_task(spec.task)
    model_input = task.preprocess(spec, image)
    return task.postprocess(spec, graph.reference(model_input.x), model_input)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_board_answers_as_edgeark_does(name: str, tmp_path: Path) -> None:
    """Images of other sizes than the network's: file, gray array, one that is only enlarged."""
    graph, spec, kit, env = convert(name, tmp_path)
    shapes = [(71, 50, 3), (40, 90), (20, 31, 3)]
    images = [
        make_images(1, (s[2] if s[2:] else 1, *s[:2]), seed)[0].transpose(1, 2, 0).reshape(s)
        for seed, s in enumerate(shapes)
    ]
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    for letter, image in zip("bc", images[1:], strict=True):
        np.save(tmp_path / f"{letter}.npy", image)
    files = ["a.png", "b.npy", "c.npy"]
    done = run(kit / "run_on_board.py", *files, "--loops", 3, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *answers, timing = map(json.loads, done.stdout.splitlines())
    assert timing["loops"] == 3 and timing["median_ms"] >= timing["least_ms"] > 0
    found = 0
    for file, image, answer in zip(files, images, answers, strict=True):
        assert answer.pop("image") == file and answer.pop("ms") > 0
        found += compare(expected(spec, graph, image), answer)
    assert found > len(files), "the network has nothing to say"


def compare(wanted: dict[str, Any], answer: dict[str, Any]) -> int:
    """Equal but for float rounding; how much there was to compare."""
    (kind,) = answer
    assert kind in wanted  # edgeark adds the shares of a mask
    if kind == "mask":
        size, runs = answer["mask"]["size"], answer["mask"]["runs"]
        mask = np.repeat(*np.array(runs).T).reshape(size)
        assert mask.shape == wanted["mask"].shape
        assert (mask != wanted["mask"]).mean() < 0.002  # logits at 0 by rounding
        return len(runs)
    left, missed = list(answer[kind]), 0
    for right in wanted[kind]:
        if (index := next((i for i, got in enumerate(left) if is_near(got, right)), None)) is None:
            missed += 1
        else:
            left.pop(index)
    # Of overlapping boxes, rounding decides which goes where their scores are all but equal
    assert max(missed, len(left)) <= len(wanted[kind]) // 20
    return len(answer[kind])


def is_near(got: dict[str, Any], right: dict[str, Any]) -> bool:
    assert got.keys() == right.keys()
    return all(
        got[key] == (value if isinstance(value, (str, int)) else pytest.approx(value, 1e-3, 1e-3))
        for key, value in right.items()
    )


def test_digits_on_the_board_are_read_as_pytorch_reads_them(
    exported: Path, digits: EvalContext, tmp_path: Path
) -> None:
    """Without images it checks the golden ones; with them, the accuracy is PyTorch's."""
    model = tmp_path / "model.rknn"
    env = activate(tmp_path / "pc")
    done = run(exported / "convert.py", "--out", model, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (exported / "dropped-by-the-toolkit.json").unlink()
    script, env = exported / "run_on_board.py", activate(tmp_path / "board", board=1)
    done = run(script, "--model", model, env=env, cwd=tmp_path)
    golden = json.loads(done.stdout)
    assert golden["images"] == 8
    assert golden["max_abs_error"][0] < 1e-4 and golden["least_cosine"][0] > 0.9999
    names = [f"{index}.npy" for index in range(len(digits.test))]
    for name, image in zip(names, digits.test.images, strict=True):
        np.save(tmp_path / name, image[0])
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


def test_colour_images_are_rgb_files_and_a_bgr_network_swaps_them(tmp_path: Path) -> None:
    _, spec, kit, _ = convert("yolox_nano", tmp_path)
    assert spec.color == "bgr"
    lines = (kit / "dataset.txt").read_text().splitlines()
    seen = np.stack([np.asarray(Image.open(kit / line)) for line in lines])
    images = make_images(10, spec.input_shape[1:])
    assert np.array_equal(seen[..., ::-1].transpose(0, 3, 1, 2), images)
    (config,) = (call[2] for call in calls_of(tmp_path / "calls") if call[1] == "config")
    assert config["reorder_channel"] == "2 1 0"
    assert config["batch_size"] == 10
