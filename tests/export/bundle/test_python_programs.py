"""Every generated Python program answers as ``edgeark run`` does, in its runtime's environment."""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.bundle.facts import BundleError
from edgeark.export.bundle.write import HERE, _copy_network, write_bundle
from edgeark.export.results.folder import MANIFEST
from edgeark.export.results.interface import ResizeFacts, head_facts, resize_facts
from edgeark.export.run import open_network, read_image
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Precision
from edgeark.export.tasks import get_task
from edgeark.export.verify import reopen
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ResizeRule
from edgeark.zoo.tasks.images import resize, to_planes
from edgeark.zoo.tasks.letterbox import letterbox
from PIL import Image
from sklearn.datasets import load_sample_images
from support.command import Run
from support.exports import export
from support.program_answers import check_same, write_photos
from support.programs import run_program

SLOW = pytest.mark.slow
CASES = [
    ("onnxruntime", "float32", "mobilenet_v1_025"),
    ("onnxruntime", "float32", "unet_8"),
    ("onnxruntime", "float32", "yolov5n"),
    ("onnxruntime", "float32", "yolox_nano"),
    ("opencv", "float32", "mobilenet_v1_025"),
    ("openvino", "float32", "mobilenet_v1_025"),
    ("mnn", "float16", "mobilenet_v1_025"),
    ("ncnn", "float16", "mobilenet_v1_025"),
    pytest.param("litert", "float32", "mobilenet_v1_025", marks=SLOW),
    pytest.param("executorch", "float32", "unet_8", marks=SLOW),
    pytest.param("rknn:rk3588", "int8", "mobilenet_v1_025", marks=SLOW),
]


@pytest.mark.parametrize(("target", "precision", "model"), CASES)
def test_a_program_answers_as_edgeark_does(
    target: str, precision: Precision, model: str, tmp_path: Path
) -> None:
    found = find_target(target)
    is_classifier = model.startswith("mobilenet")
    photos = write_photos(tmp_path, *((128, 160) if is_classifier else (60, 96)))
    arguments = {"num_classes": 12} if is_classifier else {}  # of 1,000 many are nearly equal
    _, folder = export(model, tmp_path, target, precision, **arguments)
    bundle = write_bundle(folder, tmp_path / "bundle").folder
    board = tmp_path / "board.json"
    options = ("--json", "--out", tmp_path / "drawn", "--golden", board)
    ran = run_program(bundle, found, *photos, *options)
    assert ran.status == 0, ran.err
    documents = [each for each in ran.documents() if "source" in each]
    assert [each["source"] for each in documents] == [photo.name for photo in photos]
    with open_network(str(folder)) as network:  # one process for both
        answers = [*network.answers(map(read_image, photos), live=True)]
    for photo, document, answer in zip(photos, documents, answers, strict=True):
        wanted = answer.meaning
        drawn = np.asarray(Image.open(tmp_path / "drawn" / photo.name))
        assert drawn.shape[:2] == np.asarray(Image.open(photo)).shape[:2]
        assert set(document["ms"]) == {"capture", "prepare", "infer", "read"}
        check_same(wanted, document, tmp_path / "drawn" / f"{photo.stem}.mask.png")
        if "detections" in wanted:
            assert (drawn != np.asarray(Image.open(photo).convert("RGB"))).any()
    report = json.loads(board.read_text())
    assert report["ok"] and report["runtime"]["version"]
    assert report["differences"]["export"]["max_abs_error"] <= report["allowed"]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """The program's modules by name, as a board's Python finds them."""
    monkeypatch.syspath_prepend(HERE / "python")
    for name in ("images", "png"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return lambda name: runpy.run_path(str(HERE / "python" / f"{name}.py"))


@pytest.mark.parametrize("size", [(64, 96), (97, 33), (427, 640), (800, 901)])
def test_images_are_resized_as_edgeark_does(
    modules: Callable[[str], dict[str, Any]], size: tuple[int, int]
) -> None:
    """Up to the rounding of a pixel in a thousand, which the order of a sum decides."""
    tools, image = modules("images"), load_sample_images().images[0]
    for color, channels in (("rgb", 3), ("gray", 1)):
        planes = tools["resize"](tools["to_planes"](image, color), *size, antialias=True)
        found = tools["to_bytes"](planes).transpose(2, 0, 1).astype(int)
        difference = np.abs(found - resize(to_planes(image, channels), size))
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", [(427, 640), (301, 77), (3, 500)])
def test_letterboxes_are_those_of_edgeark(
    modules: Callable[[str], dict[str, Any]], shape: tuple[int, int], centred: bool
) -> None:
    image = load_sample_images().images[1][: shape[0], : shape[1]]
    facts = {
        "input": {"height": 96, "width": 160, "color": "bgr"},
        "resize": asdict(ResizeFacts("letterbox", centred=centred)),
    }
    found, (scale, offset, _) = modules("images")["prepare"](image, facts)
    wanted, mapping = letterbox(image, (96, 160), "bgr", centred=centred)
    difference = np.abs(found.astype(int) - wanted[0])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
    assert tuple(scale) == mapping.scale * 2 and tuple(offset) == mapping.pad * 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_is_read_without_pillow(
    modules: Callable[[str], dict[str, Any]], mode: str, tmp_path: Path
) -> None:
    """Pillow chooses another filter for each row, so that all five occur."""
    image = Image.fromarray(load_sample_images().images[0][:97, :101]).convert(mode)
    image.save(tmp_path / "image.png")
    tools = modules("png")
    found = tools["read_png"]((tmp_path / "image.png").read_bytes())
    is_gray = mode in ("1", "L", "LA")
    np.testing.assert_array_equal(found, np.asarray(image.convert("L" if is_gray else "RGB")))
    tools["write_png"](str(tmp_path / "again.png"), found)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "again.png")), found)
    with pytest.raises(ValueError, match="not a PNG file that can be read"):
        tools["read_png"]((tmp_path / "image.png").read_bytes()[:200])


@pytest.mark.parametrize("resize_rule", ["letterbox", "stretch"])
@pytest.mark.parametrize("count", [1, 2, 4, 80, 300])
@pytest.mark.parametrize("model", ["yolov5n", "yolox_nano", "yolo11n"])
def test_own_classes(
    model: str,
    count: int,
    resize_rule: ResizeRule,
    modules: Callable[[str], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """As many as a box has numbers, and more; names with quotes, spaces, other scripts."""
    names = tuple(f"\"{i}\" 'größe' 猫\\n {i}" for i in range(count))
    spec = replace(model_entry(model).spec, classes=names, input_size=(64, 96), resize=resize_rule)
    rng = np.random.default_rng(count)
    outputs = []
    for index, stride in enumerate(spec.strides):
        boxes = {"yolov5": len(spec.anchors[index]) * (5 + count) if spec.anchors else 0}
        channels = {"yolox": [4, 1, count], "dfl": [64, count]}.get(spec.head, [boxes["yolov5"]])
        size = (64 // stride, 96 // stride)
        outputs += [rng.normal(0, 2, (1, c, *size)).astype(np.float32) for c in channels]
    facts = json.loads(json.dumps({"head": asdict(head_facts(spec))}, ensure_ascii=False))
    facts["input"] = {"height": 64, "width": 96, "color": "rgb"}
    facts["resize"] = asdict(resize_facts(spec))
    image = np.zeros((97, 201, 3), np.uint8)
    tools = modules("detection")
    _, place = modules("images")["prepare"](image, facts)
    options = argparse.Namespace(score=None, iou=None)
    found = tools["read"](outputs, place, facts, options)["detections"]
    task = get_task("detection")
    wanted = task.postprocess(spec, outputs, task.preprocess(spec, image))["detections"]
    assert wanted and [each["name"] for each in found] == [each["name"] for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        np.testing.assert_allclose(one["box"], other["box"], atol=1e-2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An export, its bundle, and what that says of itself."""
    folder = tmp_path_factory.mktemp("exported")
    _, made = export("mobilenet_v1_025", folder)
    bundle = write_bundle(made, folder / "bundle").folder
    board = folder / "board.json"
    ran = run_program(bundle, find_target("onnxruntime"), "--golden", board)
    assert ran.status == 0 and ran.out.rstrip().endswith("ok")
    return made, bundle, board


def test_a_board_is_verified(exported: tuple[Path, Path, Path], run: Run) -> None:
    *folders, board = exported
    for folder in folders:
        shown = run("verify", folder, "--board", board, "--json")
        (row,) = json.loads(shown.out)
        assert (shown.status, row["status"], row["evidence"]) == (0, "ok", "on device")
        assert row["repeat_error"] <= 1e-6 and "onnxruntime" in row["message"]


def test_a_bundle_is_an_export(exported: tuple[Path, Path, Path], run: Run, tmp_path: Path) -> None:
    made, bundle, board = exported
    (row,) = run("verify", bundle, "--json").json
    assert (row["status"], row["evidence"], row["repeat_error"]) == ("ok", "executed", 0)
    again = tmp_path / "again"
    assert run("bundle", bundle, "--lang", "python,cpp", "--out", again).status == 0
    assert run("verify", again, "--board", board).status == 0
    (made / "golden.npz").rename(tmp_path / "golden.npz")
    done = run("bundle", made, "--out", tmp_path / "none")
    (tmp_path / "golden.npz").rename(made / "golden.npz")
    assert done.status == 2 and not (tmp_path / "none").exists()


def test_too_few_images_to_judge_by_are_no_fault_of_a_boards(
    exported: tuple[Path, Path, Path], run: Run, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(exported[1], tmp_path / "bundle"))
    manifest = json.loads((bundle / MANIFEST).read_text())
    changes = {"status": "inconclusive", "message": "8 images are too few"}
    (bundle / MANIFEST).write_text(json.dumps({**manifest, **changes}))
    for words in (("--board", exported[2]), ()):
        shown = run("verify", bundle, *words)
        assert shown.status == 0 and "8 images are too few" in " ".join(shown.err.split())


@pytest.mark.parametrize(
    ("path", "value", "status", "message"),
    [
        ("differences.export.max_abs_error", 9.0, 1, "answers otherwise than the export: by 9.00"),
        ("model", "other", 1, "the board ran something else: model other"),
        ("files.0.sha256", "0" * 64, 1, "the board ran something else: another model.onnx"),
        ("golden.sha256", "0" * 64, 1, "the board ran something else: other golden inputs"),
        ("schema", 2, 2, "schema: Input should be 1"),
        ("differences.pytorch", None, 2, "differences.pytorch"),
    ],
)
def test_a_board_that_is_not_right(
    path: str,
    value: object,
    status: int,
    message: str,
    exported: tuple[Path, Path, Path],
    run: Run,
    tmp_path: Path,
) -> None:
    made, _, board = exported
    report = json.loads(board.read_text())
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    section = report
    for key in way:
        section = section[key]
    section[last] = value
    (tmp_path / "board.json").write_text(json.dumps(report))
    shown = run("verify", made, "--board", tmp_path / "board.json")
    assert shown.status == status and message in " ".join(shown.err.split())


FAR = {"max_abs_error": 9.0, "sqnr_db": 200.0, "peak": 1e12}


@pytest.mark.parametrize(
    ("export", "message"),
    [(FAR, "by 9.00e+00, more than"), (None, "says nothing of the export's own answers")],
)
def test_nothing_in_a_report_loosens_the_verdict(
    export: object, message: str, exported: tuple[Path, Path, Path], run: Run, tmp_path: Path
) -> None:
    made, _, board = exported
    report = {**json.loads(board.read_text()), "ok": True, "allowed": 1e12}
    report["differences"] = {"export": export, "pytorch": {**FAR, "max_abs_error": 0.0}}
    (tmp_path / "board.json").write_text(json.dumps(report))
    shown = run("verify", made, "--board", tmp_path / "board.json")
    assert shown.status == 1 and message in " ".join(shown.err.split())


@pytest.mark.parametrize("changed", ["manifest", "model.onnx"])
def test_a_board_cannot_mend_an_export(
    changed: str, exported: tuple[Path, Path, Path], run: Run, tmp_path: Path
) -> None:
    made = Path(shutil.copytree(exported[0], tmp_path / "float32"))
    manifest = json.loads((made / "manifest.json").read_text())
    if changed == "manifest":
        manifest |= {"status": "failed", "message": "too far from PyTorch"}
        (made / "manifest.json").write_text(json.dumps(manifest))
    else:
        (made / changed).write_bytes(b"another")
    shown = run("verify", made, "--board", exported[2])
    message = "too far from PyTorch" if changed == "manifest" else "not the files that"
    assert shown.status == 1 and message in " ".join(shown.err.split())


UNDEFINED = """
import numpy as np
class Runtime:
    def __init__(self, facts, folder, options): self.shape = facts["outputs"][0]["shape"]
    def __call__(self, x): return [np.full(self.shape, np.nan, np.float32)]
    def versions(self): return {}
"""


def test_answers_that_are_no_numbers_are_said(
    exported: tuple[Path, Path, Path], tmp_path: Path, run: Run
) -> None:
    bundle, report = Path(shutil.copytree(exported[1], tmp_path / "bundle")), tmp_path / "b.json"
    (bundle / "python" / "runtime.py").write_text(UNDEFINED)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    target = find_target("onnxruntime")
    ran = run_program(bundle, target, "--json", tmp_path / "a.png")
    assert ran.status == 2 and "infinite or undefined values" in ran.err and not ran.out
    assert run_program(bundle, target, "--golden", report).status == 1
    shown = run("verify", exported[0], "--board", report)
    assert shown.status == 1 and "answers otherwise" in shown.err


def test_a_bundle_takes_no_file_from_elsewhere(
    exported: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Sources, which some runtimes want, have no digest in the manifest."""
    made = Path(shutil.copytree(exported[0], tmp_path / "float32"))
    (tmp_path / "secret").write_text("secret")
    (made / "source.onnx").symlink_to(tmp_path / "secret")
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps({**manifest, "sources": ["source.onnx"]}))
    board = find_target("onnxruntime").board
    assert board is not None
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match=r"missing .*or a link"):
        _copy_network(reopen(made), replace(board, takes_sources=True), tmp_path / "out")
    assert not (tmp_path / "out" / "source.onnx").exists()


def test_wrong_answers_are_a_failed_check(
    exported: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(exported[1], tmp_path / "bundle"))
    answers = bundle / "golden" / "export0.bin"
    (np.fromfile(answers, np.float32) + 1).tofile(answers)
    ran = run_program(bundle, find_target("onnxruntime"), "--golden", tmp_path / "board.json")
    assert ran.status == 1 and "FAILED: more than" in ran.out
    assert not json.loads((tmp_path / "board.json").read_text())["ok"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png",), "cannot read the image none.png"),
        ((), "name an image"),
        (("film.mp4",), "videos and cameras need OpenCV"),
        (("photo.jpg",), "only .png, .ppm, .pgm and .npy can be read"),
        (("photo.npy", "--score", "2"), "--score and --iou are inside 0..1"),
    ],
)
def test_bad_input_of_a_program(
    arguments: tuple[str, ...], message: str, exported: tuple[Path, Path, Path]
) -> None:
    bundle = exported[1]
    (bundle.parent / "photo.jpg").write_bytes(b"no image")
    ran = run_program(bundle, find_target("onnxruntime"), *arguments, bare=True)
    assert ran.status == 2 and message in ran.err and "Traceback" not in ran.err


def test_bad_bundles(exported: tuple[Path, Path, Path], run: Run, tmp_path: Path) -> None:
    made, out, weights = exported[0], tmp_path / "out", tmp_path / "best.safetensors"
    weights.touch()
    for arguments, message in (
        ((made, "--to", "mnn"), "is an export to onnxruntime, not to mnn"),
        ((made, "--lang", "ada"), "no language 'ada'; there are python"),
        ((tmp_path / "none",), "there is no"),
        ((made.parent,), "holds 2 exports: name one, as"),
        ((made, "--to", "onnxruntime", "--lang", "web"), "no web program for onnxruntime"),
        (("mnist",), "which target for mnist?"),
        (("mnist", "--to", "mnn,opencv"), "a bundle is for one target"),
        (("mnist", "--to", "mnn", "--lang", "ada"), "no language 'ada'"),
        (("mnist", "--to", "coreml"), "no board program for coreml"),
        (("mnist", "--to", "k210", "--lang", "python"), "leave out --lang"),
        (("mnist", "--to", "k210", "--nn-archive"), "an NN Archive is made of a float32 ONNX file"),
        ((weights, "--to", "mnn"), "edgeark bundle NETWORK --weights"),
    ):
        shown = run("bundle", *arguments, "--out", out)
        assert shown.status == 2 and message in " ".join(shown.err.split()) and not out.exists()
    assert run("bundle", made, "--out", made).status == 2
    assert (made / MANIFEST).exists()
