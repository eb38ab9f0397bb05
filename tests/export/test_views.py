"""What other tools read in the files of an export."""

from __future__ import annotations

import ast
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import edgeark
import numpy as np
import onnx
import onnxruntime
import pytest
from edgeark.export.results.manifest import read_manifest
from edgeark.export.results.views import model_info, write_views
from edgeark.export.verify import reopen
from edgeark.zoo import model_entry, spec_of
from edgeark.zoo.spec import ModelSpec, TensorInput
from support.exports import export
from torch import nn

MASKS = replace(model_entry("unet_16").spec, color="bgr", mean=(1, 2, 3), std=(4, 5, 6))


def keys_of(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize(("model", "task"), [("yolov5n", "detect"), ("unet_8", "segment")])
def test_an_onnx_file_has_ultralytics_keys(model: str, task: str, tmp_path: Path) -> None:
    network, folder = export(model, tmp_path)
    spec, shapes = spec_of(network), [each.shape for each in read_manifest(folder).outputs]
    path, again = folder / "model.onnx", tmp_path / "again.onnx"
    shutil.copyfile(path, again)
    x = {"input": np.ones(spec.input_shape, np.float32)}
    before = onnxruntime.InferenceSession(path).run(None, x)
    for each in (path, again):
        write_views(each, spec, shapes)
    assert path.read_bytes() == again.read_bytes()
    after = onnxruntime.InferenceSession(path).run(None, x)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    found = keys_of(path)
    names = ast.literal_eval(found["names"])
    assert list(names.values()) == list(spec.classes) and list(names) == [*range(len(names))]
    assert ast.literal_eval(found["imgsz"]) == list(spec.input_size)
    assert (int(found["stride"]), found["task"]) == (max(spec.strides, default=1), task)
    assert (int(found["batch"]), int(found["channels"])) == (1, spec.in_channels)
    assert found["license"] == spec.license and "date" not in found
    assert not any(key.startswith("model_info") for key in found), "no wrapper reads it"
    write_views(path, spec, shapes)
    assert path.read_bytes() == again.read_bytes(), "written twice, it is the same"


def test_an_export_is_hashed_with_them(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    spec = ModelSpec(
        *("classification", (8, 8), "rgb", (1, 2, 3), (4, 5, 6), ("a b", "")),
        *("", "own network", ""),
    )
    network.spec = spec  # type: ignore[assignment]
    for name in ("one", "two"):
        (row, *_) = edgeark.export_model(network, "onnxruntime", out=tmp_path / name)
        assert row.artifact is not None, row.message
        assert not reopen(row.artifact.parent).changed_files()
    paths = [*tmp_path.rglob("model.onnx")]
    assert len({path.read_bytes() for path in paths}) == 1 and len(paths) == 2
    found = keys_of(paths[0])
    assert found["model_info model_type"] == "Classification"
    assert found["model_info labels"] == "a_b _"
    assert found["model_info reverse_input_channels"] == "True"
    assert found["model_info mean_values"].split() == ["1", "2", "3"]
    assert found["model_info scale_values"].split() == ["4", "5", "6"]
    assert found["task"] == "classify" and found["names"] == "{0: 'a b', 1: ''}"


def test_a_tflite_file_has_them_behind_it(tmp_path: Path) -> None:
    spec = model_entry("yolov5n").spec
    for name in ("a.tflite", "b.tflite"):
        (tmp_path / name).write_bytes(b"TFL3" * 99)
        write_views(tmp_path / name, spec, [(1, 255, 8, 8)])
    content = (tmp_path / "a.tflite").read_bytes()
    assert content == (tmp_path / "b.tflite").read_bytes() and content.startswith(b"TFL3" * 99)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["metadata.json"]
        found = json.loads(archive.read("metadata.json"))
    assert ast.literal_eval(found["names"])[0] == "person" and found["stride"] == "32"


@pytest.mark.parametrize(
    ("spec", "shape", "wanted"),
    [
        (replace(MASKS, classes=("back", "one", "two")), (1, 3, 8, 8), "Segmentation"),
        (replace(MASKS, classes=("defect",)), (1, 1, 8, 8), None),
        (replace(MASKS, task="classification"), (1, 2), "Classification"),
        (replace(MASKS, task="classification"), (1, 2, 1, 1), None),
        (replace(MASKS, task="classification", mean=(1,), std=(1,)), (1, 2), None),
        (replace(MASKS, task="raw"), (1, 2), None),
        (model_entry("yolov5n").spec, (1, 255, 8, 8), None),
    ],
)
def test_model_info_is_for_what_its_wrappers_read(
    spec: ModelSpec, shape: tuple[int, ...], wanted: str | None
) -> None:
    found = model_info(spec, [shape])
    assert found.get("model_type") == wanted
    if wanted:
        assert found["reverse_input_channels"] == "False" and found["mean_values"] == "1 2 3"
        assert "mean_values" not in model_info(spec, [shape], normalized=True)
    if wanted == "Segmentation":
        assert found["labels"] == "one two"
    assert not model_info(spec, [shape, shape])


def test_tensors_have_none(tmp_path: Path) -> None:
    spec = replace(MASKS, inputs=(TensorInput("a", (1, 4)),))
    path = tmp_path / "a.tflite"
    path.write_bytes(b"x")
    write_views(path, spec, [(1, 2)])
    assert path.read_bytes() == b"x" and not model_info(spec, [(1, 2)])
