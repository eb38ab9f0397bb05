"""The MaixPy bundle: its ``main.py`` runs on stand-ins for a board and answers as edgeark does."""

from __future__ import annotations

import ast
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark import cli
from edgeark.errors import EdgearkError
from edgeark.export.backends.k210.maixpy import BundleError, join_outputs, write_maixpy_bundle
from edgeark.export.kpu import Kmodel, Output, Pool, Simulator, read_kmodel, write_kmodel
from edgeark.export.kpu import elementwise as e
from edgeark.export.kpu.layer import round_up
from edgeark.export.results.folder import write_golden
from edgeark.export.results.manifest import write_manifest
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Evidence
from edgeark.export.verify import reopen, run_export
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ModelSpec
from edgeark.zoo.tasks.classification import top_k
from edgeark.zoo.tasks.detection import detect
from edgeark.zoo.tasks.letterbox import Letterbox
from edgeark.zoo.tasks.segmentation import to_mask
from support.kpu_cases import conv, digit_net, operator_net
from support.maixpy_board import run_main
from support.maixpy_fakes import Board, ImagesEnd

CLASSES = ("zero", 'one "1"', "two\nlines", "vier ½")
ANCHORS = (((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)), ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)))
DETECTOR = replace(
    model_entry("yolov5n").spec,
    **{"input_size": (64, 96), "classes": ("cat", "dog"), "strides": (8, 16), "anchors": ANCHORS},
)


def classifier_net(seed: int = 0) -> Kmodel:
    """Input [1, 16, 16]; four logits."""
    net = digit_net(seed)
    return replace(net, layers=net.layers[:-1])


def detector_net(seed: int = 0) -> Kmodel:
    """Input [3, 64, 96]; maps [21, 8, 12] and [21, 4, 6], about -7..7, in reverse order."""
    rng = np.random.default_rng(seed)
    first, second = 21 * 8 * 12, 21 * 4 * 6
    scales: dict[str, Any] = {"scale": 0.055, "bias": -7.0}
    return Kmodel(
        layers=(
            conv(
                *(rng, (6, 3, 3, 3)),
                **{"src_row": 0, "dst_row": 5000, "height": 64, "width": 96, "pool": Pool.MAX_4},
            ),
            conv(
                *(rng, (21, 6, 3, 3)),
                **{"src_row": 5000, "dst_row": 0, "height": 16, "width": 24},
                **{"pool": Pool.LEFT_TOP_2, "main_out": 0},
            ),
            e.Dequantize(input=0, output=4096, count=first, **scales),
            conv(
                *(rng, (21, 21, 1, 1)),
                **{"src_row": 0, "dst_row": 5000, "height": 8, "width": 12},
                **{"pool": Pool.LEFT_TOP_2, "main_out": 0},
            ),
            e.Dequantize(input=0, output=2048, count=second, **scales),
        ),
        outputs=(Output(4096, 4 * first), Output(2048, 4 * second)),
        main_bytes=4096 + 4 * first,
    )


def mask_net(count: int) -> Kmodel:
    """Input [3, 64, 96]; logits [count, 64, 96], which coloured blocks answer differently."""
    rng = np.random.default_rng(count)
    numbers = count * 64 * 96
    layer = conv(
        *(rng, (count, 3, 1, 1)),
        **{"src_row": 0, "dst_row": 15000, "height": 64, "width": 96, "main_out": 0},
    )
    fields = {"input": 0, "output": round_up(numbers, 8), "count": numbers}
    end = e.Dequantize(**fields, scale=0.05, bias=-11.6 if count == 1 else -6.0)
    output = Output(round_up(numbers, 8), 4 * numbers)
    return Kmodel((layer, end), (output,), main_bytes=round_up(5 * numbers + 8, 8))


def write_export(folder: Path, net: Kmodel, spec: ModelSpec, **changes: Any) -> Path:
    """The folder of an export, with changes to its manifest."""
    folder.mkdir()
    (folder / "model.kmodel").write_bytes(write_kmodel(net))
    channels = 3 * (5 + len(spec.classes))
    shapes = [
        (1, channels, *(side // stride for side in spec.input_size)) for stride in spec.strides
    ]
    size = spec.input_size if spec.task == "segmentation" else (1, 1)
    outputs = [np.zeros(shape) for shape in shapes or [(1, len(spec.classes), *size)]]
    target = find_target("k210-nncase")  # any will do: its manifest has the same fields
    artifact = Artifact("k210", "int8", folder, ("model.kmodel",))
    row = ExportResult(
        model="test_net", target="k210", precision="int8", status="ok", evidence=Evidence.MODELLED
    )
    images = np.zeros((1, *spec.input_shape[1:]), np.uint8)
    write_golden(folder, images, outputs, outputs)
    write_manifest(folder, spec, target, artifact, outputs, row)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return folder


FILES = ("README.md", "budget.md", "golden.npz", "main.py", "manifest.json", "model.kmodel")
DIGITS = replace(model_entry("mnist_kpu").spec, input_size=(16, 16), classes=CLASSES)


def make_scenes(count: int, shape: tuple[int, int, int], seed: int = 0) -> list[np.ndarray]:
    """Noise around another level in each."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (count, 1, 1, 1))
    noise = rng.integers(-40, 40, (count, *shape))
    return list(np.clip(levels + noise, 0, 255).astype(np.uint8))


def test_it_starts_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = write_export(tmp_path / "export", classifier_net(), DIGITS)
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder
    board = Board(bundle, make_scenes(1, (1, 240, 240)))
    board.install(monkeypatch)
    with pytest.raises(ImagesEnd):
        runpy.run_path(str(bundle / "main.py"), run_name="__main__")
    assert len(board.shown) == 1 and board.loaded == 0


@pytest.mark.parametrize("seed", range(2))
def test_classification_answers_as_edgeark(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = write_export(tmp_path / "export", classifier_net(seed), DIGITS)
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder
    board, answers = run_main(bundle, make_scenes(6, (1, 240, 240), seed), monkeypatch)
    assert board.window == (240, 240)  # the most that an image of 320x240 has, 15 times 16
    outputs = Simulator(classifier_net(seed)).run(np.stack(board.inputs))
    wanted = [best[0] for best in top_k(outputs[0], CLASSES, 1)]
    for image, answer, best in zip(board.shown, answers, wanted, strict=True):
        assert answer == (best["index"], best["name"], pytest.approx(best["score"], rel=1e-6))
        assert image.texts == [f"{best['name']} {best['score']:.2f}"]


@pytest.mark.parametrize("seed", range(2))
def test_detection_answers_as_edgeark(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = write_export(tmp_path / "export", detector_net(seed), DETECTOR)
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder
    board, answers = run_main(bundle, make_scenes(3, (3, 192, 288), seed), monkeypatch)
    assert board.window == (288, 192)
    outputs = Simulator(detector_net(seed)).run(np.stack(board.inputs))
    found = 0
    for index, (image, answer) in enumerate(zip(board.shown, answers, strict=True)):
        maps = [output[index : index + 1] for output in outputs]
        mapping = Letterbox((1 / 3, 1 / 3), (0, 0), (192, 288))
        wanted = detect(DETECTOR, maps, mapping)
        assert [(box[4], box[5]) for box in answer] == [
            (pytest.approx(w["score"], rel=1e-4), w["class"]) for w in wanted
        ]
        np.testing.assert_allclose(
            [box[:4] for box in answer], [w["box"] for w in wanted], rtol=1e-4, atol=1e-3
        )
        assert len(image.boxes) == len(image.texts) == len(wanted)
        found += len(wanted)
    assert found > 10


@pytest.mark.parametrize("count", [1, 3])
def test_segmentation_answers_as_edgeark(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every STEP-th pixel of the mask, in the window's pixels."""
    net, size = mask_net(count), (64, 96)
    classes = CLASSES[:count]
    spec = replace(model_entry("unet_8").spec, input_size=size, classes=classes, color="rgb")
    spec = replace(spec, mean=(0.0,) * 3, std=(255.0,) * 3)
    export = write_export(tmp_path / "export", net, spec)
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder
    blocks = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 12), np.uint8)
    scenes = list(blocks.repeat(24, axis=2).repeat(24, axis=3))
    board, answers = run_main(bundle, scenes, monkeypatch)
    outputs = Simulator(net).run(np.stack(board.inputs))[0].reshape(2, count, *size)
    masks, zoom, step = to_mask(outputs), 3, 2
    for image, answer, mask in zip(board.shown, answers, masks, strict=True):
        rows, columns = np.nonzero(mask[step // 2 :: step, step // 2 :: step])
        places = np.stack([columns, rows]) * step + step // 2
        wanted = [(x * zoom, y * zoom, mask[y, x]) for x, y in places.T.tolist()]
        assert answer == wanted and len(image.boxes) == len(wanted)
        assert wanted and len(np.unique(mask)) > 1


def test_several_outputs_become_one_that_the_firmware_reads() -> None:
    net = detector_net()
    joined = join_outputs(net)
    assert len(joined.outputs) == 1 and read_kmodel(write_kmodel(joined)).outputs == joined.outputs
    images = np.stack(make_scenes(2, (3, 64, 96)))
    (found,) = Simulator(joined).run(images)
    wanted = [output.reshape(2, -1) for output in Simulator(net).run(images)]
    np.testing.assert_array_equal(found, np.concatenate(wanted, axis=1))

    single = classifier_net()
    assert join_outputs(single) is single
    # The firmware's table of layers ends before Logistic.
    end = replace(single, layers=(*single.layers, e.Logistic(input=160, output=160, count=4)))
    assert len(join_outputs(end).layers) == len(end.layers) + 1


def test_a_bundle_runs_as_its_export(tmp_path: Path) -> None:
    """Though its outputs are joined: the manifest says their shapes."""
    net, images = detector_net(), np.stack(make_scenes(2, (3, 64, 96)))
    shapes = [[21, 8, 12], [21, 4, 6]]
    settings = {"settings": {"output_shapes": shapes}}
    export = write_export(tmp_path / "export", net, DETECTOR, **settings)
    bundle = write_maixpy_bundle(export, tmp_path / "bundle").folder
    opened = reopen(bundle)
    assert not opened.changed_files()
    found = run_export(opened, images).outputs
    for output, wanted in zip(found, Simulator(net).run(images), strict=True):
        np.testing.assert_array_equal(output, wanted)
    assert [list(output.shape[1:]) for output in found] == shapes


ALLOWED = {"gc", "math", "lcd", "sensor", "KPU"}
TOO_NEW = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.ClassDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_main_keeps_to_what_micropython_1_11_knows(task: str, tmp_path: Path) -> None:
    masks = replace(DETECTOR, task="segmentation", strides=(), anchors=(), head="")
    net, spec = {
        "classification": (classifier_net(), DIGITS),
        "detection": (detector_net(), DETECTOR),
        "segmentation": (mask_net(2), masks),
    }[task]
    write_maixpy_bundle(write_export(tmp_path / "export", net, spec), tmp_path / "bundle")
    source = (tmp_path / "bundle" / "main.py").read_text()
    assert max(map(len, source.splitlines())) <= 200
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, TOO_NEW), ast.unparse(node)
        if isinstance(node, ast.Import):
            assert {name.name for name in node.names} <= ALLOWED
        assert not isinstance(node, ast.ImportFrom)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None and not node.args.posonlyargs
            assert all(argument.annotation is None for argument in node.args.args)


def test_readme_states_sizes_and_what_is_unproven(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", classifier_net(), DIGITS)
    written = write_maixpy_bundle(export / "model.kmodel", tmp_path / "bundle")
    assert written.files == FILES
    readme = (written.folder / "README.md").read_text()
    assert f"{written.kmodel_bytes} bytes" in readme and f"{written.main_bytes} more" in readme
    assert "has run on a board" in readme and "window of 240x240" in readme


def truncated(folder: Path) -> None:
    path = folder / "model.kmodel"
    path.write_bytes(path.read_bytes()[:-100])


def newer(folder: Path) -> None:
    (folder / "model.kmodel").write_bytes(b"LDMK\x05\0\0\0" + bytes(100))


def other(folder: Path) -> None:
    (folder / "model.kmodel").write_bytes(write_kmodel(classifier_net(5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "raw"}, "test_net: no main.py for raw"),
        ({"task": "segmentation"}, r"decoded are \[\(1, 4, 16, 16\)\]"),
        ({"input": {"shape": [1, 1, 16, 16], "color": "rgb"}}, "takes 1 channels of rgb"),
        ({"input": {"shape": [1, 1, 256, 16], "color": "gray"}}, "takes 16x256 pixels"),
        ({"input": {"shape": [1, 1, 16, 24], "color": "gray"}}, r"takes \[1, 16, 16\]"),
        ({"classes": ["a"]}, "outputs .* in the manifest, decoded are"),
        ({"task": "detection"}, "0 sets of anchors for 0 strides"),
        ({"files": []}, "is about no file: no kmodel to bundle"),
        (
            {"input": {"shape": [2, 1, 16, 16], "color": "gray"}},
            "manifest.json: input.shape: .* batch is 1",
        ),
        ({"strides": [0]}, r"manifest.json: strides.0"),
        ({"classes": []}, r"outputs .*, decoded are \[\(1, 0, 1, 1\)\]"),
        (truncated, "model.kmodel: "),
        (newer, "model.kmodel: a kmodel v5"),
        (other, "model.kmodel is not the file that its manifest.json describes"),
    ],
)
def test_a_bad_export_is_one_line_and_writes_nothing(
    change: Any, message: str, tmp_path: Path
) -> None:
    changes = {} if callable(change) else change
    export = write_export(tmp_path / "export", classifier_net(), DIGITS, **changes)
    if callable(change):
        change(export)
    with pytest.raises(EdgearkError, match=message) as caught:
        write_maixpy_bundle(export, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_numbers_without_a_scale_cannot_be_decoded(tmp_path: Path) -> None:
    net = classifier_net()
    raw = replace(net, layers=net.layers[:1], outputs=(Output(0, 8),), main_bytes=4096)
    raw = replace(raw, layers=(conv(
        *(np.random.default_rng(0), (4, 1, 3, 3)),
        **{"src_row": 0, "dst_row": 100, "height": 16, "width": 16, "main_out": 0},
    ),), outputs=(Output(0, 1024),))  # fmt: skip
    export = write_export(tmp_path / "export", raw, DIGITS)
    with pytest.raises(EdgearkError, match="output 0 is uint8: a Dequantize has to end it"):
        write_maixpy_bundle(export, tmp_path / "bundle")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", classifier_net(), DIGITS)
    with pytest.raises(BundleError, match="is there already: name a new folder"):
        write_maixpy_bundle(export, export)
    (tmp_path / "empty").mkdir()
    write_maixpy_bundle(export, tmp_path / "empty")


def run_cli(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["edgeark", "bundle", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), *capfd.readouterr()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    export = write_export(tmp_path / "export", classifier_net(), DIGITS)
    out = tmp_path / "bundle"
    status, text, _ = run_cli(monkeypatch, capfd, export, "--out", out, "--json")
    assert status == 0 and json.loads(text)["files"] == list(FILES)
    assert "- KPU memory: 7 KiB of 2048 KiB." in (out / "README.md").read_text()
    assert "It fits." in (out / "budget.md").read_text()
    lonely = tmp_path / "lonely.kmodel"
    lonely.write_bytes(write_kmodel(operator_net()))
    for path, message in (
        (lonely, "no manifest.json in"),
        (tmp_path / "none", "there is no"),
    ):
        status, text, line = run_cli(monkeypatch, capfd, path, "--out", tmp_path / "b")
        assert status == 2 and not text and message in line and line.count("\n") == 1
        assert not (tmp_path / "b").exists()
