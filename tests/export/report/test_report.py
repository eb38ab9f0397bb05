"""The report, on constructed rows: no toolchain is needed."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.prepare import EvalContext
from edgeark.export.report import plots, render, write_report
from edgeark.export.results.compare import compare, score, task_figures
from edgeark.export.results.schema import ExportResult, Status
from edgeark.export.targets.base import Evidence, Placement, Precision
from edgeark.export.tasks import classification as samples
from edgeark.export.tasks.drawing import image_uri
from PIL import Image
from support.report_fakes import (
    CLASSES,
    LABELS,
    FakeTarget,
    Tables,
    logits,
    make_mask_subject,
    make_subject,
)

EVIL = "<script>alert('gone')</script> & more"


@pytest.fixture(autouse=True)
def fake_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find_target", lambda name: FakeTarget())


def make_row(context: EvalContext, target: str, output: np.ndarray, **changes: Any) -> ExportResult:
    reference, test = [context.reference[0][: len(output)]], context.test.head(len(output))
    parity = compare(reference, [output])
    row = ExportResult(
        model=context.name,
        target=target,
        precision="float32",
        status="ok",
        evidence=Evidence.EXECUTED,
        max_abs_error=parity.max_abs_error,
        sqnr_db=parity.sqnr_db,
        metric=score(
            context.spec,
            *(task_figures(context.spec, o, test) for o in (reference, [output])),
            test,
        ),
        size_bytes=2_500_000,
        convert_s=1.25,
        run_ms=0.5,
        outputs=[output],
    )
    return row.replace(**changes)


def make_unrun(
    context: EvalContext, target: str, precision: Precision, status: Status, message: str
) -> ExportResult:
    return ExportResult(
        model=context.name, target=target, precision=precision, status=status, message=message
    )


LAYERS = (
    {"name": "conv1", "op": "Conv", "target": "NPU", "macs": 1_234_567, "cycles": 890,
     "module": "stem.conv", "traffic_kib": 4096},
    {"name": "flatten", "op": "Reshape", "target": "CPU", "macs": None, "cycles": None},
)  # fmt: skip
CALIBRATION = {
    "dataset": "insects",
    "split": "train",
    "count": 64,
    "choice": "at random",
    "algorithm": "mmse",
    "wide_layers": ["stem.conv", "head"],
}


@pytest.fixture
def found() -> list[tuple[EvalContext, list[ExportResult]]]:
    """One model with a row of every status."""
    context = make_subject()
    placement = Placement(0.975, ("Softmax", "Softmax", "Resize"), 1000, None, LAYERS)
    noisy = logits([0, 1, 2, 1])  # was given four images, and mistakes the last one
    rows = [
        make_row(context, "onnxruntime", context.reference[0] + np.float32(1e-3)),
        make_row(
            context,
            "rknn:rk3588",
            noisy,
            precision="int8",
            status="failed",
            evidence="simulated",
            placement=placement,
            calibration=CALIBRATION,
            message="top1 too low",
        ),
        make_unrun(context, "mnn", "float16", "error", EVIL),
        make_unrun(context, "openvino", "float32", "unavailable", "no network"),
    ]
    return [(context, rows)]


def render_page(found: Any, folder: Path) -> str:
    write_report(found, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_every_status_and_target_has_a_row(found: Any, tmp_path: Path) -> None:
    results, _, placement, versions = Tables(render_page(found, tmp_path)).tables
    cells = {row[0]: row[1:] for row in results if len(row) > 1}
    assert cells["onnxruntime float32"] == [
        "✓ ok", "executed", "1.0e-03", "65.1", "83.33 %", "83.33 %", "6", "insects",
        "-", "-", "2,441.4", "1.2", "0.50",
    ]  # fmt: skip
    assert cells["rknn:rk3588 int8"][:2] == ["✗ failed", "simulated"]
    assert cells["rknn:rk3588 int8"][4:10] == [
        "100.00 %", "75.00 %", "4", "insects", "97.50 %", "Softmax x2, Resize",
    ]  # fmt: skip
    assert cells["mnn float16"] == ["⚠ error", *["-"] * 12]
    assert cells["openvino float32"] == ["○ unavailable", *["-"] * 12]
    messages = [row[0] for row in results if len(row) == 1]
    calibration, *messages = messages
    assert calibration == (
        "int8 by 64 train images of insects, drawn at random; algorithm mmse; "
        "in 16 bits: stem.conv, head"
    )
    assert messages == ["top1 too low", EVIL, "no network"]
    assert placement == [
        ["name", "operator", "runs on", "MACs", "cycles", "module", "traffic kib"],
        ["conv1", "Conv", "NPU", "1,234,567", "890", "stem.conv", "4,096"],
        ["flatten", "Reshape", "CPU", "-", "-", "-", "-"],
    ]
    names = [row[0] for row in versions]
    assert names == ["target", "PyTorch", "onnxruntime", "rknn:rk3588", "mnn", "openvino"]
    assert versions[2][2] == "fake-runtime 9.8.7"


def test_page_needs_nothing_else_and_escapes_everything(found: Any, tmp_path: Path) -> None:
    page = render_page(found, tmp_path)
    tags = Tables(page).tags
    assert EVIL not in page
    assert "a network &amp; its" not in page and "A network &amp; its &lt;friends&gt;" in page
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags}
    assert "http" not in page and "url(" not in page and "@import" not in page
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert len(sources) == 6
    assert all(source and source.startswith("data:image/png;base64,") for source in sources)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_same_rows_make_the_same_file(found: Any, tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages.append(render_page(found, tmp_path / name))
    assert pages[0] == pages[1]


def test_sample_answers_are_the_outputs_answers(found: Any, tmp_path: Path) -> None:
    _, answers, *_ = Tables(render_page(found, tmp_path)).tables
    head, *lines = answers
    order = [int(cell.rsplit(maxsplit=1)[1]) for cell in head[1:]]
    assert sorted(order) == list(range(6))
    assert [cell.split()[0] for cell in head[1:]] == [CLASSES[LABELS[index]] for index in order]
    cells = {line[0]: dict(zip(order, line[1:], strict=False)) for line in lines}
    assert cells["PyTorch float32"][1] == "✓ bee 0.965"  # e^4 / (e^4 + 2)
    assert cells["PyTorch float32"][5] == "✗ ant 0.965"
    assert cells["rknn:rk3588 int8"][3] == "✗ bee 0.965"
    assert cells["rknn:rk3588 int8"][2] == "✓ cat 0.965"
    assert cells["rknn:rk3588 int8"][5] == "not asked"
    assert list(cells["mnn float16"].values()) == ["no answer: error"]
    assert list(cells["openvino float32"].values()) == ["no answer: unavailable"]


def test_masks_are_shown_over_their_images(tmp_path: Path) -> None:
    context = make_mask_subject()
    output = context.reference[0][:5].copy()
    output[3, :, 2:6, 2:4], output[4, :, 0, 0] = 4, 4
    rows = [
        make_row(context, "mnn", output, precision="int8", evidence="executed"),
        make_unrun(context, "openvino", "float32", "unavailable", "no network"),
    ]
    page = render_page([(context, rows)], tmp_path)
    results, answers, *_ = Tables(page).tables
    assert results[0][5:7] == ["dice PyTorch", "dice target"]
    assert results[1][5:8] == ["50.00 %", "66.67 %", "4"]
    order = [int(cell.rsplit(maxsplit=1)[1]) for cell in answers[0][1:]]
    assert sorted(order) == list(range(6)) and order[4:] == [4, 5]
    cells = {line[0]: dict(zip(order, line[1:], strict=False)) for line in answers[1:]}
    assert cells["PyTorch float32"] == {
        **{0: "Dice 1.000", 1: "Dice 1.000", 2: "Dice 0.000", 3: "Dice 0.000"},
        **{4: "0 px", 5: "0 px"},
    }
    assert cells["mnn int8"][0] == "Dice 1.000 the same mask"
    assert cells["mnn int8"][3] == "Dice 0.667 difference: 8 px (12 %)"
    assert cells["mnn int8"][4] == "1 px difference: 1 px (1.6 %)"
    assert cells["mnn int8"][5] == "not asked"
    assert list(cells["openvino float32"].values()) == ["no answer: unavailable"]
    sources = [attributes["src"] for tag, attributes in Tables(page).tags if tag == "img"]
    assert len(sources) == 6 + 6 + 5 + 2


def test_limits_in_the_page_are_the_targets_own(
    found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lenient(FakeTarget):
        def limits(self, precision):
            return replace(super().limits(precision), metric_drop=0.5)

    monkeypatch.setattr(
        render, "find_target", lambda name: Lenient() if name == "openvino" else FakeTarget()
    )
    page = render_page(found, tmp_path)
    items = [item.split("</li>")[0] for item in page.split("<li>")[1:]]
    assert [item.split(":")[0] for item in items] == ["float32", "float32", "float16", "int8"]
    assert "0.05 points below" in items[0] and items[0].endswith("(onnxruntime)")
    assert "50.00 points below" in items[1] and items[1].endswith("(openvino)")
    assert "40 dB" in items[2] and "(" not in items[2]


def test_a_report_without_any_answer_is_written(found: Any, tmp_path: Path) -> None:
    (context, rows), *_ = found
    page = render_page([(context, rows[2:])], tmp_path)
    assert "⚠ 1 error" in page and "Error against PyTorch" not in page


def test_samples_hold_disputed_hopeless_and_easy_images() -> None:
    labels = np.arange(40) % 4
    right = labels.copy()
    one, two, bad = right.copy(), right.copy(), right.copy()
    one[[10, 30]] = two[[10, 30]] = bad[[10, 30]] = 9  # wrong everywhere
    bad[[11, 12, 13, 14]] = 9  # wrong on one place
    two[14] = 9  # and this one on two of four
    chosen = samples.choose_samples(labels, [one, two, bad, one], count=10)
    assert chosen[5:] == [14, 11, 12, 10, 30]
    assert not set(chosen[:5]) & {10, 11, 12, 13, 14, 30}
    assert sorted(labels[chosen[:5]]) == list(labels[chosen[:5]])
    assert samples.choose_samples(labels, [right, right], count=4) == [0, 1, 2, 3]
    assert len(samples.choose_samples(labels, [right * 0 + 9], count=10)) == 10


def test_samples_prefer_images_that_all_places_were_given() -> None:
    labels = np.zeros(8, int)
    wrong = labels + 1
    assert samples.choose_samples(labels, [wrong, wrong[:0], labels[:0]], count=2) == [0, 1]
    short = labels[:5].copy()
    short[4] = 1
    mixed = labels.copy()
    mixed[0] = mixed[7] = 1
    assert samples.choose_samples(labels, [mixed, short], count=4)[2:] == [0, 4]


def test_histograms_share_their_axis_and_count_every_value() -> None:
    small, large = np.array([0.0, 3e-6, 3e-6, 3e-5]), np.full(4, 0.5)
    axis, (first, second) = plots.error_histograms(
        [("a", "float32", small, 1e-4), ("b", "int8", large, None)]
    )
    assert (axis.low, axis.high) == (-6, 0)
    assert axis.ticks[0] == (0.0, "1e-6") and axis.ticks[-1] == (plots.PLOT_WIDTH, "1e0")
    assert first.equal == 0.25 and first.largest == 3e-5
    assert first.limit_x == pytest.approx(plots.PLOT_WIDTH / 3, abs=0.01)
    assert second.limit_x is None and second.equal == 0
    heights = [height for _, _, _, height in first.bars]
    assert heights == [plots.PLOT_HEIGHT / 2, plots.PLOT_HEIGHT / 4]
    assert [height for _, _, _, height in second.bars] == [plots.PLOT_HEIGHT]
    _, (nothing,) = plots.error_histograms([("c", "float32", np.zeros(3), 1e-4)])
    assert nothing.bars == [] and nothing.equal == 1


@pytest.mark.parametrize(("color", "expected"), [("rgb", (1, 2, 3)), ("bgr", (3, 2, 1))])
def test_image_uri_is_that_image(color: str, expected: tuple[int, ...]) -> None:
    image = np.zeros((3, 2, 4), np.uint8) + np.array([1, 2, 3], np.uint8)[:, None, None]
    uri = image_uri(image, color)
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.size == (4, 2) and image.getpixel((0, 0)) == expected


@pytest.mark.parametrize(
    ("probability", "text"), [(1.0, "1.000"), (0.99999, ">0.999"), (0.9994, "0.999")]
)
def test_a_score_is_never_rounded_up_to_certainty(probability: float, text: str) -> None:
    assert render._score(probability) == text
