"""Every generated C++ program answers as the Python program does: on real libraries where a wheel
has one (OpenVINO, ONNX Runtime, MNN), else on a stand-in of the runtime's documented interface."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.bundle.write import write_bundle
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Precision
from edgeark.zoo import create_model
from PIL import Image, ImageOps
from sklearn.datasets import load_digits, load_sample_images
from support.command import Run
from support.cpp_programs import (
    build_program,
    mnn_options,
    onnxruntime_options,
    opencv_options,
    openvino_options,
    run_built,
)
from support.exports import export, export_network
from support.program_answers import check_same, write_photos
from support.programs import run_program

OPTIONS = {
    "mnn": mnn_options,
    "onnxruntime": onnxruntime_options,
    "opencv": opencv_options,
    "openvino": openvino_options,
}
CASES = [
    ("openvino", "float32", "unet_8"),
    ("openvino", "float32", "yolov5n"),
    ("onnxruntime", "float32", "mobilenet_v1_025"),
    ("onnxruntime", "float32", "yolox_nano"),
    ("onnxruntime", "float32", "yolo11n"),
    ("mnn", "float16", "yolov5n"),
    ("opencv", "float32", "yolov5n"),  # Debian 12 has 4.6, which does not read ReLU6
]


@pytest.mark.parametrize(("target", "precision", "model"), CASES)
def test_a_program_answers_as_the_python_program(
    target: str, precision: Precision, model: str, tmp_path: Path
) -> None:
    options = OPTIONS[target]()
    is_classifier = model.startswith("mobilenet")
    photos = write_photos(tmp_path, *((128, 160) if is_classifier else (60, 96)))
    arguments = {"num_classes": 12} if is_classifier else {}
    _, folder = export(model, tmp_path, target, precision, **arguments)
    bundle = write_bundle(folder, tmp_path / "bundle", ("python", "cpp")).folder
    program = build_program(bundle, *options)
    board = tmp_path / "board.json"
    wanted = run_program(bundle, find_target(target), *photos, "--json", "--out", tmp_path / "py")
    ran = run_built(program, *photos, "--json", "--out", tmp_path / "cpp", "--golden", board)
    assert (wanted.status, ran.status) == (0, 0), wanted.err + ran.err
    documents = [each for each in ran.documents() if "source" in each]
    assert [each["source"] for each in documents] == [photo.name for photo in photos]
    for photo, document, right in zip(photos, documents, wanted.documents(), strict=True):
        drawn = np.asarray(Image.open(tmp_path / "cpp" / photo.name))
        assert drawn.shape[:2] == np.asarray(Image.open(photo)).shape[:2]
        assert (drawn != np.asarray(Image.open(photo).convert("RGB"))).any()
        assert set(document["ms"]) == {"capture", "prepare", "infer", "read"}
        if "shares" in right:
            masks = [tmp_path / kind / f"{photo.stem}.mask.png" for kind in ("py", "cpp")]
            right["mask"] = np.asarray(Image.open(masks[0]))
            check_same(right, document, masks[1])
        else:
            check_same(right, document, photo)
    report = json.loads(board.read_text())
    assert report["ok"] and report["runtime"]["version"] and report["program"] == "c++"
    assert report["differences"]["export"]["max_abs_error"] <= report["allowed"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A trained network: its export, the bundle of that, and the program."""
    folder = tmp_path_factory.mktemp("digits")
    made = export_network(
        create_model("mnist", pretrained=True).eval(), "mnist", folder, "openvino"
    )
    bundle = write_bundle(made, folder / "bundle", ("python", "cpp")).folder
    return made, bundle, build_program(bundle, *openvino_options(), build_type="Release")


def test_a_board_is_verified(digits: tuple[Path, Path, Path], run: Run) -> None:
    made, bundle, program = digits
    board = bundle.parent / "board.json"
    ran = run_built(program, "--golden", board)
    assert ran.status == 0 and ran.out.rstrip().endswith("ok")
    shown = run("verify", made, "--board", board, "--json")
    (row,) = json.loads(shown.out)
    assert (shown.status, row["status"], row["evidence"]) == (0, "ok", "on device")
    assert "openvino" in row["message"]
    report = json.loads(board.read_text())
    python = run_program(bundle, find_target("openvino"), "--golden", bundle.parent / "py.json")
    right = json.loads((bundle.parent / "py.json").read_text())
    assert python.status == 0 and report.keys() == right.keys()
    for key in ("schema", "model", "target", "precision", "files", "golden", "ok"):
        assert report[key] == right[key]
    assert report["allowed"] == pytest.approx(right["allowed"])
    assert report["differences"]["pytorch"]["sqnr_db"] == pytest.approx(
        right["differences"]["pytorch"]["sqnr_db"], abs=0.1
    )


def test_images_of_any_size_and_format(digits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A digit in colour, larger and smaller than the input; resized as Python does it."""
    _, bundle, program = digits
    digit = Image.fromarray((load_digits().images[3] * 15.9).astype(np.uint8)).convert("RGB")
    images, arrays = [], []
    for size in ((28, 28), (61, 45), (13, 9), (300, 411)):
        for suffix in (".png", ".jpg", ".bmp", ".ppm"):
            images.append(tmp_path / f"{size[0]}{suffix}")
            digit.resize(size[::-1]).save(images[-1])
            arrays.append(images[-1].with_name(f"{images[-1].name}.npy"))  # as Pillow reads it
            np.save(arrays[-1], np.asarray(Image.open(images[-1])))
    ran = run_built(program, *images, "--json", "--top", "3")
    right = run_program(bundle, find_target("openvino"), *arrays, "--json", "--top", "3")
    assert (ran.status, right.status) == (0, 0), ran.err + right.err
    for one, other in zip(ran.documents(), right.documents(), strict=True):
        check_same(other, one, tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_files_are_turned_upright(
    digits: tuple[Path, Path, Path], orientation: int, tmp_path: Path
) -> None:
    photo = load_sample_images().images[0][:64, :96]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "photo.jpg") as file:
        upright = np.asarray(ImageOps.exif_transpose(file))
    # What is drawn over is a small part.
    ran = run_built(digits[2], tmp_path / "photo.jpg", "--out", tmp_path / "drawn.ppm")
    assert ran.status == 0, ran.err
    drawn = np.asarray(Image.open(tmp_path / "drawn.ppm"))
    assert drawn.shape == upright.shape and (drawn == upright).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png",), "cannot read the image none.png"),
        ((), "name an image"),
        (("film.mp4",), "film.mp4 needs OpenCV"),
        (("camera:0",), "camera:0 needs OpenCV"),
        (("broken.png",), "cannot read the image broken.png"),
        (("broken.jpg",), "cannot read the image broken.jpg"),
        (("broken.bmp",), "a truncated BMP file"),
        (("broken.ppm",), "not an 8-bit PPM or PGM file, or a truncated one"),
        (("text.png",), "built without a library for such files"),
        (("whole.ppm", "--score", "2"), "--score is inside 0..1"),
        (("whole.ppm", "--top", "0"), "--top is at least 1"),
        (("whole.ppm", "--threads", "many"), "--threads many: a whole number is needed"),
        (("whole.ppm", "--scroe", "1"), "no option --scroe"),
        (("whole.ppm", "--out"), "--out needs a value"),
        (("whole.ppm", "--out", "drawn.webp"), "cannot write drawn.webp"),
        (("whole.ppm", "--out", "drawn.mp4"), "of the same kind as the source, or a folder"),
        (("whole.ppm", "whole.ppm", "--out", "drawn.png"), "several images need a folder"),
        (("whole.ppm", "--device", "nowhere"), "OpenVINO: the network"),
        (("whole.ppm", "--bundle", "empty"), "there is no model.xml"),
        (("empty",), "no image in the folder empty"),
    ],
)
def test_bad_input_of_a_program(
    arguments: tuple[str, ...], message: str, digits: tuple[Path, Path, Path]
) -> None:
    folder = digits[1].parent
    (folder / "empty").mkdir(exist_ok=True)
    image = Image.fromarray(load_sample_images().images[0][:20, :30])
    image.save(folder / "whole.ppm")
    for suffix in (".png", ".jpg", ".bmp", ".ppm"):
        image.save(folder / f"whole{suffix}")
        half = (folder / f"whole{suffix}").read_bytes()
        (folder / f"broken{suffix}").write_bytes(half[: len(half) // 2])
    (folder / "text.png").write_text("no image at all")
    ran = run_built(digits[2], *arguments)
    assert ran.status == 2 and message in ran.err
    assert len(ran.err.splitlines()) <= 8 and ran.err.splitlines()[0].startswith("error: ")


def test_wrong_answers_are_a_failed_check(digits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(digits[1], tmp_path / "bundle"))
    answers = bundle / "golden" / "export0.bin"
    (np.fromfile(answers, np.float32) + 1).tofile(answers)
    board = tmp_path / "board.json"
    ran = run_built(digits[2], "--bundle", bundle, "--golden", board)
    assert ran.status == 1 and "FAILED: more than" in ran.out
    assert not json.loads(board.read_text())["ok"]


def test_a_folder_of_images_and_a_benchmark(
    digits: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (folder := tmp_path / "photos").mkdir()
    write_photos(folder, 40, 50)
    (folder / "notes.txt").write_text("no image")
    ran = run_built(digits[2], folder, "--out", tmp_path / "drawn", "--limit", "1")
    assert ran.status == 0 and len(ran.out.splitlines()) == 1
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["flower.png"]
    ran = run_built(digits[2], "--benchmark", "5")
    assert ran.status == 0 and ran.out.startswith("5 frames: capture ")
    assert "frames a second" in ran.out
    ran = run_built(digits[2], "--benchmark=5", "--json", folder / "temple.png")
    assert ran.documents()[0]["runs"] == 5 and ran.documents()[0]["ms"]["infer"] > 0
    assert "--inference-precision" in run_built(digits[2], "--help").out
