"""Every generated Python program answers as ``edgeark run`` does, in its runtime's environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.bundle.write import write_bundle
from edgeark.export.run import answer_image
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Precision
from edgeark.zoo import spec_of
from PIL import Image
from sklearn.datasets import load_sample_images
from support.exports import export
from support.programs import run_program

SLOW = pytest.mark.slow
CASES = [
    ("onnxruntime", "float32", "mobilenet_v1_025"),
    ("onnxruntime", "float32", "unet_8"),
    ("onnxruntime", "float32", "yolov5n"),
    ("onnxruntime", "float32", "yolox_nano"),
    ("onnxruntime", "int8", "unet_8"),
    ("opencv", "float32", "yolov5n"),
    ("opencv", "float32", "yolox_nano"),
    ("openvino", "float16", "yolov5n"),
    ("mnn", "float32", "yolov5n"),
    ("ncnn", "float32", "yolov5n"),
    ("ncnn", "float16", "unet_8"),
    pytest.param("litert", "int8", "yolov5n", marks=SLOW),
    pytest.param("litert", "float32", "mobilenet_v1_025", marks=SLOW),
    pytest.param("executorch", "float32", "yolox_nano", marks=SLOW),
    pytest.param("rknn:rk3588", "int8", "yolov5n", marks=SLOW),
    pytest.param("rknn:rk3588", "float16", "unet_8", marks=SLOW),
    pytest.param("opencv5", "float32", "yolov5n", marks=SLOW),
    pytest.param("litert-nchw", "float32", "unet_8", marks=SLOW),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photographs, one in colour and one gray of odd sides; PNG, which every board reads."""
    folder = tmp_path_factory.mktemp("photos")
    first, second = load_sample_images().images
    Image.fromarray(first).save(folder / "temple.png")
    Image.fromarray(second[:301, :407]).convert("L").save(folder / "flower.png")
    return [folder / "temple.png", folder / "flower.png"]


@pytest.mark.parametrize(("target", "precision", "model"), CASES)
def test_a_program_answers_as_edgeark_does(
    target: str, precision: Precision, model: str, photos: list[Path], tmp_path: Path
) -> None:
    found = find_target(target)
    network, folder = export(model, tmp_path, target, precision)
    bundle = write_bundle(folder, tmp_path / "bundle").folder
    board = tmp_path / "board.json"
    arguments = ("--json", "--out", tmp_path / "drawn", "--golden", board)
    ran = run_program(bundle, found, *photos, *arguments)
    assert ran.status == 0, ran.err
    documents = [each for each in ran.documents() if "source" in each]
    assert [each["source"] for each in documents] == [photo.name for photo in photos]
    for photo, document in zip(photos, documents, strict=True):
        wanted = answer_image(str(folder), photo).meaning
        drawn = np.asarray(Image.open(tmp_path / "drawn" / photo.name))
        assert drawn.shape[:2] == np.asarray(Image.open(photo)).shape[:2]
        assert set(document["ms"]) == {"capture", "prepare", "infer", "read"}
        pixel = max(drawn.shape[:2]) / max(spec_of(network).input_size)  # one of the input's
        check_same(wanted, document, tmp_path / "drawn" / f"{photo.stem}.mask.png", pixel)
        if "detections" in wanted:
            assert (drawn != np.asarray(Image.open(photo).convert("RGB"))).any()
    report = json.loads(board.read_text())
    assert report["ok"] and report["runtime"]["version"]
    assert report["differences"]["export"]["max_abs_error"] <= report["allowed"]


def check_same(wanted: dict[str, Any], document: dict[str, Any], mask: Path, pixel: float) -> None:
    """Equal answers: of scores to 1e-3, of boxes to half a ``pixel``, of masks but at the border.

    The order of sums differs, and with it now and then an input value by 1 of 255.
    """
    if "classes" in wanted:
        keys = [[c["index"], c["name"]] for c in wanted["classes"]]
        assert [[c["index"], c["name"]] for c in document["classes"]] == keys
        found, right = ([c["score"] for c in each["classes"]] for each in (document, wanted))
        np.testing.assert_allclose(found, right, atol=1e-3)
    elif "mask" in wanted:
        found = np.asarray(Image.open(mask))
        assert found.shape == wanted["mask"].shape and 0 < wanted["mask"].mean() < 1
        assert (found != wanted["mask"]).mean() < 1e-3
        shares = {entry["index"]: entry["share"] for entry in document["shares"]}
        assert shares[1] == pytest.approx(found.mean())
    else:
        right = wanted["detections"]
        assert right and len(document["detections"]) == len(right)
        for one, other in zip(document["detections"], right, strict=True):
            assert (one["class"], one["name"]) == (other["class"], other["name"])
            assert one["score"] == pytest.approx(other["score"], abs=1e-3)
            np.testing.assert_allclose(one["box"], other["box"], atol=pixel / 2)
