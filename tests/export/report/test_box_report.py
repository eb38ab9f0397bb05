"""A detector's part of the report: true boxes and found ones are drawn where they are."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.prepare import EvalContext
from edgeark.export.report import render, write_report
from edgeark.export.results.compare import compare, score, task_figures
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets.base import Evidence
from edgeark.export.tasks import detection as boxes
from edgeark.training.plots import spread
from edgeark.zoo import model_entry
from PIL import Image
from support.box_images import CLASSES, make_images
from support.report_fakes import FakeTarget, Tables

SIDE = 64
SPEC = replace(
    model_entry("yolov5n").spec, input_size=(SIDE, SIDE), classes=CLASSES, dataset="shapes"
)


def maps(images: int, found: bool) -> list[np.ndarray]:
    """Raw maps that see nothing, or one disc in the middle of each image."""
    outputs = [np.full((images, 3, 7, SIDE // s, SIDE // s), -9.0, np.float32) for s in (8, 16, 32)]
    if found:
        outputs[1][:, 0, :, 2, 2] = [0, 0, 0, 0, 9, -9, 9]
    return [output.reshape(images, 21, *output.shape[3:]) for output in outputs]


def pixels(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


def test_boxes_are_drawn_where_they_are() -> None:
    test = make_images(1, SIDE)
    plain = replace(test, images=np.full_like(test.images, 114))
    (answer,) = boxes.box_answers(SPEC, maps(1, True), plain, [0])
    assert answer is not None and answer.words == "1 disc"
    image = pixels(answer.uri)
    # Cell (2, 2) of stride 16, middle at 40; the anchor is 30 wide and 61 high, cut off below.
    drawn = np.abs(image - 114).sum(2) > 90
    columns, rows = np.flatnonzero(drawn.any(0)), np.flatnonzero(drawn.any(1))
    assert abs(columns[0] - 25) <= 2 and abs(columns[-1] - 55) <= 2
    assert abs(rows[0] - 9.5) <= 2 and rows[-1] >= 61
    assert not drawn[20:55, 30:50].any()
    assert boxes.box_answers(SPEC, maps(1, True), plain, [1]) == [None]
    (nothing,) = boxes.box_answers(SPEC, maps(1, False), plain, [0])
    assert nothing is not None and nothing.words == "nothing"


@pytest.mark.parametrize(
    ("total", "wanted"), [(1, [0]), (3, [0, 1, 2]), (101, [0, 25, 50, 75, 100])]
)
def test_images_are_spread(total: int, wanted: list[int]) -> None:
    assert spread(total) == wanted


def test_the_report_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find_target", lambda name: FakeTarget())
    test = make_images(6, SIDE, split="test")
    reference = maps(6, True)
    outputs = [output + np.float32(1e-6) for output in reference]
    metric = score(SPEC, *(task_figures(SPEC, o, test) for o in (reference, outputs)), test)
    context = EvalContext("net", SPEC, None, test, reference, lambda: test)  # type: ignore[arg-type]
    parity = compare(reference, outputs)
    row = ExportResult(
        model="net",
        target="onnxruntime",
        precision="float32",
        status="ok",
        evidence=Evidence.EXECUTED,
        max_abs_error=parity.max_abs_error,
        sqnr_db=parity.sqnr_db,
        metric=metric,
        outputs=outputs,
    )
    write_report([(context, [row])], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 3 * 5  # truth, PyTorch, target
    assert "mAP50" in page
    answers = next(t for t in Tables(page).tables if t[0][0] == "target" and "no. 0" in t[0][1])
    assert answers[1][1:] == ["1 disc"] * 5
