"""Firmware for TensorFlow Lite Micro: built and run with a stand-in of the library's interface."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.backends.tflm.firmware import method_of
from edgeark.export.bundle.facts import BundleError
from edgeark.export.bundle.write import write_bundle
from edgeark.export.results.folder import MANIFEST
from edgeark.export.run import answer_image
from edgeark.export.targets.base import Precision
from edgeark.export.verify import reopen
from PIL import Image
from support import firmware
from support.exports import export
from support.target_base import installed_target

CHIP = "tflm:esp32s3-psram"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a classifier's export."""
    installed_target(CHIP)
    folder = tmp_path_factory.mktemp("small")
    return export("mobilenet_v1_025", folder, CHIP, "int8", num_classes=12)[1]


def test_a_classifiers_firmware_answers_as_edgeark_does(small: Path, tmp_path: Path) -> None:
    check_firmware(small, tmp_path)


@pytest.mark.parametrize(("model", "precision"), [("yolov5n", "int8"), ("unet_8", "float32")])
def test_other_firmware_answers_as_edgeark_does(
    model: str, precision: Precision, tmp_path: Path
) -> None:
    installed_target(CHIP)
    check_firmware(export(model, tmp_path, CHIP, precision)[1], tmp_path)


def check_firmware(folder: Path, tmp_path: Path) -> None:
    """What both programs print, of the golden images and of the first of them."""
    bundle = write_bundle(folder, tmp_path / "bundle").folder
    built = firmware.build(bundle, tmp_path / "build")
    recorded = firmware.record(reopen(folder), tmp_path / "record")
    golden = firmware.run(built / "golden_main", recorded)
    assert golden.status == 0, golden.out + golden.err
    assert "as the export answered" in golden.out and "differs by 0 at most" in golden.out
    shown = firmware.run(built / "main", recorded)
    assert shown.status == 0, shown.err
    image = tmp_path / "golden.png"
    pixels = reopen(folder).golden().images[0].transpose(1, 2, 0)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(image)
    check_same(answer_image(str(folder), image).meaning, shown.out)


def check_same(wanted: dict, text: str) -> None:
    """The lines say what ``edgeark run`` says, rounded."""
    lines = text.splitlines()
    if "classes" in wanted:
        right = [f"{c['name']} {100 * c['score']:.1f} %" for c in wanted["classes"][:3]]
        assert lines == right
    elif "mask" in wanted:
        share = float(lines[0].split()[-2])
        assert len(lines) == 1 and 0 < share < 100
        assert share == pytest.approx(100 * np.mean(wanted["mask"] > 0), abs=0.1)
    else:
        assert wanted["detections"] and len(lines) == len(wanted["detections"])
        for line, box in zip(lines, wanted["detections"], strict=True):
            said, _, place = line.partition(" % at ")
            name, _, score = said.rpartition(" ")
            assert name == box["name"]
            assert float(score) == pytest.approx(100 * box["score"], abs=0.11)
            np.testing.assert_allclose([float(v) for v in place.split()], box["box"], atol=1)


def test_golden_tells_a_wrong_answer_and_a_small_arena(small: Path, tmp_path: Path) -> None:
    bundle = write_bundle(small, tmp_path / "bundle").folder
    recorded = firmware.record(reopen(small), tmp_path / "record")
    content = recorded.read_bytes()
    head, path, cases = content.split(b"\n", 2)
    built = firmware.build(bundle, tmp_path / "build")
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\n".join([head, path, cases[:-6] + bytes([cases[-6] ^ 0x40]) + cases[-5:]]))
    told = firmware.run(built / "golden_main", wrong)
    assert told.status == 1 and "NOT as the export answered" in told.out
    least = reopen(small).manifest.settings["arena_bytes"]
    fewer = firmware.build(bundle, tmp_path / "fewer", f"-DMODEL_ARENA_BYTES={least - 1}")
    told = firmware.run(fewer / "golden_main", recorded)
    assert told.status == 2 and "raise MODEL_ARENA_BYTES" in told.err


def test_a_bundle_says_what_it_holds_and_what_was_proven(small: Path, tmp_path: Path) -> None:
    bundle = write_bundle(small, tmp_path / "bundle")
    text = (bundle.folder / "README.md").read_text()
    settings = reopen(small).manifest.settings
    assert f"{settings['arena_bytes']:,}" in text and f"{settings['flash_bytes']:,}" in text
    assert "stand-in" in text and "on no board" in text
    assert "DepthwiseConv2D" in text and bundle.to_dict()["arena_bytes"] == settings["arena_bytes"]


def test_what_cannot_be_bundled_is_one_line(small: Path, tmp_path: Path) -> None:
    manifest = json.loads((small / MANIFEST).read_text())
    for number, (change, words) in enumerate(
        [
            (
                {"target": "tflm:rp2040", "settings": {"arena_bytes": 10**6}},
                "more than the 270,336",
            ),
            ({"settings": {"operators": ['CONV_2D(); system("x"']}}, "no name of an operator"),
            ({"settings": {"arena_bytes": "a lot"}}, "settings lack arena_bytes"),
            ({"head": {**manifest["head"], "decoder": "raw; }"}, "settings": {}}, "no program"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in small.iterdir():
            if path.is_file():
                (folder / path.name).write_bytes(path.read_bytes())
        changed = {**manifest, **change, "settings": {**manifest["settings"], **change["settings"]}}
        (folder / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(BundleError, match=words):
            write_bundle(folder, tmp_path / f"out{number}")
        assert not (tmp_path / f"out{number}").exists()


def test_operators_are_spelled_as_the_librarys_methods() -> None:
    spelled = {
        "CONV_2D": "Conv2D",
        "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
        "MAX_POOL_2D": "MaxPool2D",
        "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
        "RELU6": "Relu6",
        "PADV2": "PadV2",
        "SPLIT_V": "SplitV",
        "L2_NORMALIZATION": "L2Normalization",
        "LOGISTIC": "Logistic",
        "BATCH_MATMUL": "BatchMatMul",
        "ARG_MAX": "ArgMax",
    }
    assert {name: method_of(name) for name in spelled} == spelled
