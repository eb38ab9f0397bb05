"""``edgeark run``: a file, an image, and what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgeark.errors import DataError, EdgearkError
from edgeark.export.kpu import KmodelError, Simulator, write_kmodel
from edgeark.export.request import NetworkRequest
from edgeark.export.run import answer_image, read_image
from edgeark.zoo import save_weights
from edgeark.zoo.tasks.images import to_input
from PIL import Image
from support.command import Run
from support.exports import export
from support.kpu_cases import digit_net, operator_net


@pytest.fixture
def kmodel(tmp_path: Path) -> Path:
    path = tmp_path / "digits.kmodel"
    path.write_bytes(write_kmodel(digit_net()))
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_the_image_is_resized_to_the_kmodels_input(kmodel: Path, image: Path) -> None:
    pixels = np.asarray(Image.open(image))
    wanted = Simulator(digit_net()).run(to_input(pixels, (16, 16), 1))
    answer = answer_image(str(kmodel), image)
    (found,) = answer.outputs
    assert not answer.meaning
    assert found.shape == (1, 4) and np.array_equal(found, wanted[0])


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("RGB", (6, 5, 3)), ("RGBA", (6, 5, 3)), ("P", (6, 5, 3)), ("L", (6, 5)), ("1", (6, 5))],
)
def test_images_of_every_mode_are_read(mode: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    Image.new(mode, (5, 6)).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert found.shape == shape and found.dtype == np.uint8


def test_a_cameras_image_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("L", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (8, 4)


def test_what_cannot_be_run_is_one_line(kmodel: Path, image: Path, tmp_path: Path) -> None:
    with pytest.raises(
        EdgearkError, match=r"cannot run image.png: no manifest.json .* no network or .kmod"
    ):
        answer_image(str(image), image)
    with pytest.raises(DataError, match=r"cannot read the image .*digits.kmodel"):
        answer_image(str(kmodel), kmodel)
    with pytest.raises(DataError, match="cannot read the image"):
        answer_image(str(kmodel), tmp_path / "none.png")
    with pytest.raises(EdgearkError, match=r"there is no none\.kmodel"):
        answer_image("none.kmodel", image)
    with pytest.raises(EdgearkError, match="has its own weights and shapes"):
        answer_image(NetworkRequest(str(kmodel), weights=tmp_path / "w.safetensors"), image)
    with pytest.raises(EdgearkError, match=r"no manifest.json in "):
        answer_image(str(tmp_path), image)
    newer = tmp_path / "newer.kmodel"
    newer.write_bytes(b"LDMK\x05\0\0\0" + bytes(100))
    with pytest.raises(KmodelError, match=r"newer.kmodel: a kmodel v5: .*edgeark runs v3"):
        answer_image(str(newer), image)
    two = tmp_path / "two.kmodel"
    two.write_bytes(write_kmodel(operator_net()))
    with pytest.raises(KmodelError, match=r"two.kmodel: its input is \[2, 8, 40\]"):
        answer_image(str(two), image)


def test_the_command_prints_the_outputs(kmodel: Path, image: Path, run: Run) -> None:
    done = run("run", kmodel, "--image", image, "--json")
    assert done.status == 0 and list(done.json) == ["image", "answered_by", "output_ranges"]
    (facts,) = done.json["output_ranges"]
    assert facts["shape"] == [1, 4] and facts["type"] == "float32"
    assert done.json["answered_by"] == "k210, edgeark's own simulator"
    done = run("run", kmodel, "--image", image, "--json", "--raw")
    wanted = answer_image(str(kmodel), image).outputs[0]
    assert np.array_equal(np.array(done.json["outputs"][0], np.float32), wanted)
    done = run("run", kmodel, "--image", image)
    assert done.status == 0 and "1x4" in done.out and "float32" in done.out
    done = run("run", image, "--image", image)
    assert done.status == 2 and done.out == "" and "error: cannot run image.png" in done.err


KEYS = {
    "mobilenet_v1_025": "classes",
    "unet_8": "mask",
    "yolov5n": "detections",
    "yolox_nano": "detections",
    "yolo11n": "detections",
}


@pytest.mark.parametrize("name", KEYS)
def test_an_export_says_what_its_model_says(
    name: str, image: Path, tmp_path: Path, run: Run
) -> None:
    model, folder = export(name, tmp_path)
    save_weights(model, tmp_path / "w.safetensors")
    drawn = tmp_path / "drawn.png"
    by_target, by_pytorch = (
        run("run", *what, "--image", image, "--out", drawn, "--json", "--raw")
        for what in ([folder], [name, "--weights", tmp_path / "w.safetensors"])
    )
    assert by_target.status == by_pytorch.status == 0, by_pytorch.err
    found, wanted = by_target.json, by_pytorch.json
    assert found["answered_by"].startswith("onnxruntime float32, the runtime (onnxruntime 1.")
    assert wanted["answered_by"].startswith("PyTorch 2.")
    key = KEYS[name]
    assert list(found) == list(wanted) and key in found
    for got, right in zip(found["outputs"], wanted["outputs"], strict=True):
        a, b = np.array(got), np.array(right)
        np.testing.assert_allclose(a, b, atol=1e-3 * max(1, np.abs(b).max()))
    pixels = np.asarray(Image.open(image))
    assert np.asarray(Image.open(drawn)).shape == pixels.shape
    assert (np.asarray(Image.open(drawn)) != pixels).any()
    if key == "mask":
        assert found[key] == str(tmp_path / "drawn.mask.png")
        mask = np.asarray(Image.open(found[key]))
        assert mask.shape == (20, 30)
        shares = {each["index"]: each["share"] for each in found["shares"]}
        assert shares.get(1, 0) == pytest.approx((mask == 1).mean())
    else:
        assert found[key] and len(found[key]) == len(wanted[key])
    table = run("run", folder / "model.onnx", "--image", image, "--out", drawn)
    assert table.status == 0 and "raw outputs" in table.out and "answered by" in table.out


def test_a_mask_has_a_name_of_its_own(
    image: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = export("unet_8", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run("run", folder, "--image", image, "--json")
    assert done.json["mask"] == "image.mask.png" and (tmp_path / "image.mask.png").exists()
