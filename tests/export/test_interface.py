"""What a manifest says of an artifact's input, outputs and head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from edgeark.export.results.interface import (
    LetterboxFacts,
    head_facts,
    input_facts,
    output_facts,
)
from edgeark.export.results.manifest import read_manifest
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Precision
from edgeark.zoo import model_entry
from edgeark.zoo.spec import TensorInput
from support.command import Run
from support.exports import export

SPEC = replace(model_entry("yolov5n").spec, input_size=(64, 96))
SCALE = {"scale": 0.5, "zero_point": -3}


@pytest.mark.parametrize(
    ("target", "settings", "wanted"),
    [
        ("onnxruntime", {}, ("input", (1, 3, 64, 96), "NCHW", "float32", "program")),
        ("openvino", {}, ("input", (1, 3, 64, 96), "NCHW", "uint8", "model")),
        ("rknn:rk3588", {}, ("input", (1, 64, 96, 3), "NHWC", "uint8", "model")),
        ("k210", {}, ("input", (1, 3, 64, 96), "NCHW", "uint8", "model")),
        ("pplnn", {}, ("input", (1, 3, 64, 96), "NCHW", "float32", "program")),
        ("ncnn", {"input": "in0"}, ("in0", (1, 3, 64, 96), "NCHW", "float32", "program")),
        ("mnn", {"inputs": ["x"]}, ("x", (1, 3, 64, 96), "NCHW", "float32", "program")),
        ("litert", {"layout": "NHWC", "input": SCALE},
         ("input", (1, 64, 96, 3), "NHWC", "int8", "program")),
    ],
)  # fmt: skip
def test_the_input_is_as_the_runtime_wants_it(
    target: str, settings: dict[str, Any], wanted: tuple[object, ...], tmp_path: Path
) -> None:
    artifact = Artifact(target, "float32", tmp_path, ("model",), settings)
    found = input_facts(SPEC, find_target(target), artifact)
    assert (found.name, found.shape, found.layout, found.type, found.normalized_by) == wanted
    assert (found.height, found.width) == (64, 96)
    assert (found.scale, found.zero_point) == ((0.5, -3) if found.type == "int8" else (0, 0))
    assert (found.color, found.mean, found.std) == ("rgb", SPEC.mean, SPEC.std)
    assert found.normalization == find_target(target).normalization
    assert found.letterbox == LetterboxFacts(grey=114, centred=True)
    assert (found.resize.rule, found.resize.antialias) == ("letterbox", True)


def test_outputs_have_names_layouts_and_scales(tmp_path: Path) -> None:
    shapes = [(1, 8, 4, 6), (1, 5)]
    settings = {"layout": "NHWC", "outputs": [SCALE, {"scale": 0.25, "zero_point": 7}]}
    artifact = Artifact("litert", "int8", tmp_path, ("model",), settings)
    first, second = output_facts(artifact, shapes, ["map", "scores"])
    assert (first.name, first.shape, first.layout, first.type) == (
        *("map", (1, 4, 6, 8)),
        *("NHWC", "int8"),
    )
    assert (second.name, second.shape, second.layout) == ("scores", (1, 5), "NCHW")
    assert (second.scale, second.zero_point) == (0.25, 7)
    own = replace(artifact, settings={"outputs": ["out0", "out1"]})
    assert [found.name for found in output_facts(own, shapes, ["map", "scores"])] == [
        *("out0", "out1")
    ]
    plain = replace(artifact, settings={})
    assert [found.name for found in output_facts(plain, shapes)] == ["output0", "output1"]
    (alone,) = output_facts(plain, shapes[:1])
    assert (alone.name, alone.type, alone.scale) == ("output", "float32", 0)


def test_several_tensors_are_not_normalised(tmp_path: Path) -> None:
    spec = replace(
        SPEC, task="raw", inputs=(TensorInput("a", (1, 4)), TensorInput("b", (1, 3, 8, 8)))
    )
    found = input_facts(spec, find_target("onnxruntime"), Artifact("", "float32", tmp_path, ("m",)))
    assert (found.name, found.shape, found.type) == ("a", (1, 4), "float32")
    assert (found.height, found.width, found.letterbox) == (1, 1, None)


@pytest.mark.parametrize(
    ("model", "decoder", "centred"),
    [
        ("yolov5n", "yolov5", True),
        ("yolox_nano", "yolox", False),
        ("yolo11n", "dfl", True),
        ("unet_16", "threshold", True),
        ("mnist", "softmax", True),
    ],
)
def test_the_head_says_how_outputs_are_read(model: str, decoder: str, centred: bool) -> None:
    spec = model_entry(model).spec
    head = head_facts(spec)
    assert (head.decoder, head.classes, head.strides) == (decoder, spec.classes, spec.strides)
    assert head.anchors == spec.anchors and spec.is_centred == centred
    assert head.score_threshold == (0.25 if spec.strides else 0.5)
    assert head_facts(replace(spec, task="segmentation", classes=("a", "b"))).decoder == "argmax"


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("model", ["mobilenet_v1_025", "yolox_nano"])
def test_a_runtime_finds_what_the_manifest_says(
    model: str, precision: Precision, tmp_path: Path
) -> None:
    network, folder = export(model, tmp_path, precision=precision)
    found = read_manifest(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, tuple(given.shape)) == (found.input.name, found.input.shape)
    assert given.type == "tensor(float)" and found.input.type == "float32"
    outputs = [(each.name, tuple(each.shape)) for each in session.get_outputs()]
    assert outputs == [(each.name, each.shape) for each in found.outputs]
    written, spec = found.spec, network.spec
    fields = ("task", "input_size", "color", "mean", "std", "classes", "strides", "anchors", "head")
    assert all(getattr(written, name) == getattr(spec, name) for name in fields)


def as_version_1(folder: Path) -> None:
    """What an export had that was written before inputs, outputs and heads were described."""
    path = folder / "manifest.json"
    found = json.loads(path.read_text())
    names = ("shape", "layout", "color", "range", "mean", "std", "normalization", "letterbox")
    found["input"] = {name: found["input"][name] for name in names}
    found["outputs"] = [{"name": each["name"], "shape": each["shape"]} for each in found["outputs"]]
    decoder = found["head"]["decoder"]
    found["head"] = decoder if decoder in ("yolov5", "yolox", "dfl") else ""
    found["schema_version"] = 1
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("model", ["yolox_nano", "unet_8"])
def test_manifests_of_version_1_are_read(model: str, tmp_path: Path, run: Run) -> None:
    _, folder = export(model, tmp_path)
    wanted = read_manifest(folder)
    as_version_1(folder)
    found = read_manifest(folder)
    assert found.spec == wanted.spec and found.input.resize == wanted.input.resize
    assert run("verify", folder).status == 0
    done = run("bundle", folder, "--out", tmp_path / "bundle")
    assert done.status == 2 and "export again" in " ".join(done.err.split())


def test_what_stands_twice_is_read_once(tmp_path: Path) -> None:
    """Classes, strides and anchors are those beside the head, as in version 1."""
    _, folder = export("mobilenet_v1_025", tmp_path)
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    assert fields["head"]["classes"] == fields["classes"]
    path.write_text(json.dumps({**fields, "classes": ["a"] * 1000}))
    assert read_manifest(folder).spec.classes == ("a",) * 1000
    path.write_text(json.dumps({**fields, "head": {**fields["head"], "decoder": 3}}))
    with pytest.raises(Exception, match=r"head\.decoder"):
        read_manifest(folder)
