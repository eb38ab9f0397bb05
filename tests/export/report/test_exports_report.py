"""``edgeark report``: exports that are there, and ``export --report``."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from edgeark.export.report.conclusion import HEIGHT, WIDTH, Point, conclude, draw_trade_offs
from edgeark.export.results.layers_file import LayerReport, write_layers
from edgeark.export.results.schema import ExportResult, Metric
from edgeark.export.targets.base import Evidence, LayerError, Placement
from support.command import Run
from support.exports import export
from support.report_fakes import Tables


def row(target: str, precision: Any = "float32", **fields: Any) -> ExportResult:
    shared = {"model": "net", "status": "ok", "evidence": Evidence.EXECUTED, "sqnr_db": 60.0}
    return ExportResult(target=target, precision=precision, **{**shared, **fields})


def top1(value: float) -> Metric:
    return Metric(name="top1", float=0.99, value=value, n=100, dataset="digits")


ROWS = [
    row("onnxruntime", run_ms=2.0, size_bytes=4096, metric=top1(0.99)),
    row("mnn", "int8", run_ms=1.0, size_bytes=2048, metric=top1(0.97)),
    row(
        *("rknn:rk3588", "int8"),
        **{"run_ms": 0.1, "size_bytes": 1024, "metric": top1(0.98), "evidence": "simulated"},
        placement=Placement(0.975, ("Softmax", "Softmax"), 10, None),
    ),
    row("ncnn", status="failed", message="1 dB", run_ms=0.01, size_bytes=1),
]


def test_the_conclusion_names_the_best_and_what_was_lost() -> None:
    """A simulator's time counts for nothing, and neither does what failed."""
    assert conclude(ROWS) == [
        "Fastest here: mnn int8, 1.00 ms an input, top1 97.00 % (PyTorch 99.00 %).",
        "Smallest: rknn:rk3588 int8, 1 KiB, top1 98.00 % (PyTorch 99.00 %).",
        "int8 loses at most 2.00 points of top1, on mnn.",
        "rknn:rk3588 int8: on the CPU Softmax x2; 97.5 % of the MACs on the NPU.",
        "ncnn float32 is failed: 1 dB.",
    ]
    no_npu = Placement(None, ("Resize",), 10, None)
    assert conclude([row("tflm", placement=no_npu)]) == ["tflm float32: on the CPU Resize."]
    assert conclude([row("mnn", status="unavailable", evidence=None, sqnr_db=None)]) == [
        "mnn float32 is unavailable."
    ]


def test_the_picture_has_time_or_size_to_the_right() -> None:
    picture = draw_trade_offs(ROWS)
    assert picture is not None
    assert (picture.x_title, picture.y_title) == ("time, ms an input", "top1, %")
    fast, slow = picture.points
    assert (fast.name, slow.name) == ("mnn int8", "onnxruntime float32")
    assert 0 < fast.x < slow.x < WIDTH and 0 < slow.y < fast.y < HEIGHT
    sizes = draw_trade_offs([each.replace(run_ms=None, metric=None) for each in ROWS])
    assert sizes is not None and (sizes.x_title, sizes.y_title) == ("size, KiB", "SQNR, dB")
    assert len(sizes.points) == 4
    assert draw_trade_offs(ROWS[:1]) is None


def test_names_in_the_picture_cover_neither_each_other_nor_points() -> None:
    rows = [row(f"target{i}", run_ms=1 + 0.01 * i, metric=top1(0.99)) for i in range(8)]
    picture = draw_trade_offs(rows)
    assert picture is not None
    for one, other in itertools.combinations(picture.points, 2):
        (a, b), (c, d) = span(one), span(other)
        assert b < c or d < a or abs(one.name_y - other.name_y) >= 12.9
    for name, point in itertools.product(picture.points, repeat=2):
        left, right = span(name)
        apart = right < point.x - 4 or left > point.x + 4
        assert apart or abs(name.name_y - 3 - point.y) >= 12.9, (name, point)
    assert {point.y for point in picture.points} == {HEIGHT / 2}, "one value is in the middle"


def test_int8_that_loses_nothing_is_said_to() -> None:
    rows = [row(name, precision="int8", metric=top1(0.99)) for name in ("mnn", "litert")]
    assert "int8 loses nothing of top1." in conclude(rows)


def span(point: Point) -> tuple[float, float]:
    """Where a name begins and ends, of letters of 7 units, as on a phone."""
    length = 7 * len(point.name)
    start = point.name_x - (length if point.anchor == "end" else 0)
    return start, start + length


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for name in ("mobilenet_v1_025", "unet_8", "yolov5n"):
        (folder / name).mkdir()
        arguments = {"num_classes": 3} if name.startswith("mobilenet") else {}
        export(name, folder / name, **arguments)
    return folder


def test_exports_that_are_there_are_reported(exports: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "report.html"
    done = run("report", exports, "--out", out, "--measure", "--json")
    assert done.status == 0, done.err
    models = ["mobilenet_v1_025", "unet_8", "yolov5n"]
    assert [each["model"] for each in done.json["rows"]] == models
    assert all(each["run_ms"] > 0 and each["size_bytes"] > 0 for each in done.json["rows"])
    page = out.read_text(encoding="utf-8")
    tags = Tables(page).tags
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert "edgeark report" in page and "UTC" in page
    sources = [attributes["src"] or "" for _, attributes in tags if "src" in attributes]
    assert len(sources) == 3 * 2 + 2 * 2 * 2  # the inputs; of two tasks answers are drawn too
    assert all(source.startswith("data:image/") for source in sources)
    folders = [attributes["href"] or "" for tag, attributes in tags if tag == "a"]
    folders = [folder for folder in folders if not folder.startswith("#")]
    assert [(out.parent / folder / "model.onnx").exists() for folder in folders] == [True] * 3
    answers = [rows for rows in Tables(page).tables if rows[1:] and rows[1][0].startswith("PyTor")]
    assert len(answers) == 4, "three of answers, and the versions"
    for lines in answers[:3]:
        assert lines[2][0] == "onnxruntime float32"
        assert all("max abs" in cell for cell in lines[2][1:])
    assert run("report", exports / "unet_8", "--out", out).status == 0
    assert "ms an input" not in out.read_text(encoding="utf-8")


def test_errors_by_layer_are_shown_where_they_were_measured(
    exports: Path, tmp_path: Path, run: Run
) -> None:
    out, folder = tmp_path / "report.html", tmp_path / "unet_8" / "onnxruntime" / "float32"
    shutil.copytree(exports / "unet_8" / "export", folder)
    layers = [
        LayerError("a", "stem.conv", "Conv", 0.9999, 40.0, 0.9999, 40.0),
        LayerError("b", "<head>", "Conv", 0.99, 17.0, 0.99, 20.5),
    ]
    write_layers(tmp_path, LayerReport("unet_8", "onnxruntime", "float32", layers))
    assert run("report", folder, "--out", out).status == 0
    page = out.read_text(encoding="utf-8")
    assert "worst by itself: &lt;head&gt; Conv, 20.5 dB" in page
    assert "stem.conv Conv: 40.0 dB alone, 40.0 dB with all before it" in page
    found = json.loads((folder / "layers.json").read_text())
    (folder / "layers.json").write_text(json.dumps({**found, "model": "other"}))
    assert run("report", folder, "--out", out).status == 0
    assert "Error by layer" not in out.read_text(encoding="utf-8")
    for text in ("{", "[1]", json.dumps({**found, "layers": [{"name": "NaN"}]})):
        (folder / "layers.json").write_text(text)
        done = run("report", folder, "--out", out)
        assert done.status == 2 and "layers.json" in done.err and "Traceback" not in done.err


def test_what_is_no_report_is_one_line(exports: Path, tmp_path: Path, run: Run) -> None:
    for arguments, message in (
        ((exports, "--out", tmp_path / "report.pdf"), "a report is an .html file"),
        ((tmp_path, "--out", tmp_path / "report.html"), "no manifest.json in"),
        (("none",), "none"),
    ):
        done = run("report", *arguments)
        assert done.status == 2 and message in " ".join(done.err.split()), done.err
    assert not [*tmp_path.iterdir()]


def test_an_export_of_ones_own_network_has_a_report(tmp_path: Path, run: Run) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Conv2d(3, 2, 3)\n"
    )
    out = tmp_path / "report.html"
    done = run(
        *("export", f"{tmp_path}/net.py:make", "--input-shape", "3x8x8", "--to", "onnxruntime"),
        *("--out", tmp_path / "exports", "--report", out),
    )
    assert done.status == 0, done.err
    page = out.read_text(encoding="utf-8")
    assert "16 test images of noise" in page and "Fastest here: onnxruntime float32" in page
    assert "Answers to sample images" not in page, "nothing is known of what the outputs mean"
