"""Luxonis' own reader opens a bundle's NN Archive, whose network answers as the export."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from edgeark.export.bundle.nn_archive import ARCHIVE
from edgeark.export.bundle.write import write_bundle
from edgeark.export.results.manifest import read_manifest
from edgeark.export.toolchains import Toolchain, ToolchainUnavailable
from support.command import Run
from support.exports import export

# uv pip compile --universal --generate-hashes -o requirements.txt requirements.in
READER = Toolchain(
    name="luxonis-nn-archive",
    packages=("luxonis-ml",),
    home=Path(__file__).parent,
    python=">=3.10",
    download_mb=25,
)
SCRIPT = """
import json, sys, tarfile
from luxonis_ml.nn_archive import is_nn_archive
from luxonis_ml.nn_archive.config import Config
found = []
for path in sys.argv[1:]:
    assert is_nn_archive(path)
    with tarfile.open(path) as archive:
        config = Config(**json.load(archive.extractfile("config.json")))
        assert config.model.metadata.path in archive.getnames()
    heads = config.model.heads or []
    found.append({
        "heads": [[type(head.metadata).__name__, head.parser] for head in heads],
        "config": config.model_dump(mode="json"),
    })
print(json.dumps(found))
"""
NAMES = ("red cell", 'white "1"', "größe")
CASES = {
    "mobilenet_v1_025": [["HeadClassificationMetadata", "ClassificationParser"]],
    "unet_8": [["HeadSegmentationMetadata", "SegmentationParser"]],
    "yolov5n": [["HeadYOLOMetadata", "YOLOExtendedParser"]],
    "yolox_nano": [],
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    found = {}
    for model in CASES:
        (folder / model).mkdir()
        options: dict[str, Any] = {"num_classes": 3, "spec": {"classes": NAMES}}
        found[model] = export(model, folder / model, **options)[1]
    return found


@pytest.fixture(scope="module")
def bundles(exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    for model, made in exports.items():
        write_bundle(made, folder / model, nn_archive=True)
    return {model: folder / model for model in exports}


def test_luxonis_reads_what_the_manifest_says(
    exports: dict[str, Path], bundles: dict[str, Path]
) -> None:
    try:
        python = READER.ensure()
    except ToolchainUnavailable as error:
        pytest.skip(str(error))
    command = [str(python), "-c", SCRIPT, *(str(each / ARCHIVE) for each in bundles.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for found, (model, heads) in zip(json.loads(done.stdout), CASES.items(), strict=True):
        assert found["heads"] == heads
        manifest, config = read_manifest(exports[model]), found["config"]["model"]
        (given,) = config["inputs"]
        assert given["shape"] == list(manifest.input.shape)
        assert given["preprocessing"]["scale"] == list(manifest.input.std)
        assert given["preprocessing"]["resize_mode"] == manifest.input.resize.rule.upper()
        assert [each["name"] for each in config["outputs"]] == [o.name for o in manifest.outputs]
        for head in config["heads"] or ():
            assert head["metadata"]["classes"] == list(NAMES)


@pytest.mark.parametrize("model", CASES)
def test_the_network_in_it_answers_as_the_export(
    model: str, exports: dict[str, Path], bundles: dict[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(bundles[model] / ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model"]
    (given,) = config["inputs"]
    x = np.random.default_rng(0).normal(0, 1, given["shape"]).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / config["metadata"]["path"])
    names = [output["name"] for output in config["outputs"]]
    found = session.run(names, {given["name"]: x})
    path = exports[model] / "model.onnx"
    wanted = onnxruntime.InferenceSession(path).run(names, {given["name"]: x})
    if model == "yolov5n":
        wanted = [1 / (1 + np.exp(-np.maximum(output, -80))) for output in wanted]
        (head,) = config["heads"]
        assert np.shape(head["metadata"]["anchors"]) == (3, 3, 2)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_command_adds_the_same_file_each_time(
    exports: dict[str, Path], bundles: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "bundle"
    done = run("bundle", exports["yolov5n"], "--nn-archive", "--out", out, "--json")
    assert done.status == 0 and ARCHIVE in done.json["files"]
    assert (out / ARCHIVE).read_bytes() == (bundles["yolov5n"] / ARCHIVE).read_bytes()
    assert ARCHIVE in (out / "README.md").read_text(encoding="utf-8")


def test_what_no_archive_is_made_of_is_one_line(tmp_path: Path, run: Run) -> None:
    _, folder = export("mobilenet_v1_025", tmp_path, "onnxruntime", "int8")
    done = run("bundle", folder, "--nn-archive", "--out", tmp_path / "bundle")
    assert done.status == 2 and "float32 ONNX file" in " ".join(done.err.split())
    assert not (tmp_path / "bundle").exists()
