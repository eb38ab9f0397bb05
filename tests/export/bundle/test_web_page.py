"""The page in a real browser answers as ``edgeark run`` does, and asks nobody else."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.bundle.write import write_bundle
from edgeark.export.results.compare import compare
from edgeark.export.run import answer_image
from edgeark.export.targets.base import Precision
from edgeark.training.data.sources import DATA_VARIABLE
from edgeark.zoo import create_model
from PIL import Image
from support.browser import Page, find_chromium, open_browser, serve
from support.command import Run
from support.exports import export, export_network
from support.program_answers import check_same, write_photos
from support.target_base import installed_target

STATE = "import('/web/page.mjs').then(({{ state }}) => {})"
ANSWER = STATE.format(
    "state.error || (state.answer && { ...state.answer, "
    "mask: state.answer.mask && Array.from(state.answer.mask) })"
)
FORGET = STATE.format("Object.assign(state, { answer: null, error: null })")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Generator[Page]:
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine")
    installed_target("web")
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def answer_of(page: Page, photo: Path) -> dict[str, Any]:
    page.evaluate(FORGET)
    page.choose("#file", photo)
    found = page.wait_for(ANSWER)
    assert isinstance(found, dict), found
    return found


def check_photo(page: Page, export: Path, photo: Path, folder: Path) -> None:
    found = answer_of(page, photo)
    if "mask" in found:
        mask = np.array(found["mask"], np.uint8).reshape(found["height"], found["width"])
        Image.fromarray(mask).save(folder / "mask.png")
    check_same(answer_image(str(export), photo).meaning, found, folder / "mask.png")


@pytest.mark.parametrize(
    ("model", "precision"),
    [("mobilenet_v1_025", "int8"), ("unet_8", "float32"), ("yolox_nano", "float32")],
)
def test_a_page_answers_as_edgeark_does(
    page: Page, run: Run, model: str, precision: Precision, tmp_path: Path
) -> None:
    is_classifier = model.startswith("mobilenet")
    photos = write_photos(tmp_path, *((128, 160) if is_classifier else (60, 96)))
    arguments = {"num_classes": 12} if is_classifier else {}  # of 1,000 many are nearly equal
    _, folder = export(model, tmp_path, "web", precision, **arguments)
    bundle = write_bundle(folder, tmp_path / "bundle").folder
    page.said.clear()
    with serve(bundle) as url:
        page.open(f"{url}?golden")
        for photo in photos:
            check_photo(page, folder, photo, tmp_path)
        report = page.evaluate(STATE.format("state.report"))
    assert page.said == []
    (tmp_path / "board.json").write_text(json.dumps(report))
    (row,) = run("verify", folder, "--board", tmp_path / "board.json", "--json").json
    assert (row["status"], row["evidence"]) == ("ok", "on device"), row["message"]
    assert "onnxruntime-web 1." in row["message"]
    golden = np.load(folder / "golden.npz")
    names = [name.removeprefix("output") for name in golden.files if name.startswith("output")]
    reference, answers = ([golden[kind + n] for n in names] for kind in ("pytorch", "output"))
    wanted, seen = compare(reference, answers), report["differences"]["pytorch"]
    assert seen["max_abs_error"] == pytest.approx(wanted.max_abs_error, rel=0.1, abs=1e-4)
    assert seen["sqnr_db"] == pytest.approx(wanted.sqnr_db, abs=2)


def cells(path: Path) -> Path:
    """A photograph of blood cells where that data set is, else a drawing of some."""
    found = sorted((Path(os.environ.get(DATA_VARIABLE, "none")) / "bccd").rglob("BloodImage_*.jpg"))
    if found:
        return found[0]
    rng = np.random.default_rng(3)
    picture = np.full((231, 310, 3), (215, 190, 190), np.uint8)
    y, x = np.mgrid[:231, :310]
    for _ in range(25):
        centre, radius = rng.uniform(0, (310, 231)), rng.uniform(18, 30)
        inside = np.hypot(x - centre[0], y - centre[1]) < radius
        picture[inside] = (120, 60, 150) if rng.random() < 0.2 else (200, 130, 130)
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The export and the page of the shipped detector."""
    folder = tmp_path_factory.mktemp("shipped")
    model = create_model("yolov5n", pretrained=True).eval()
    exported = export_network(model, "yolov5n", folder, "web")
    return exported, write_bundle(exported, folder / "bundle").folder


def test_boxes_on_a_photograph_are_those_of_edgeark(
    page: Page, shipped: tuple[Path, Path], tmp_path: Path
) -> None:
    exported, bundle = shipped
    page.said.clear()
    with serve(bundle) as url:
        page.open(url)
        check_photo(page, exported, cells(tmp_path / "cells.png"), tmp_path)
        before = len(answer_of(page, cells(tmp_path / "cells.png"))["detections"])
        page.evaluate(FORGET)
        page.evaluate(
            "{ const slider = document.querySelector('#slider'); slider.value = 80; "
            "slider.dispatchEvent(new Event('change')) }"
        )
        assert len(page.wait_for(ANSWER)["detections"]) < before
        assert page.evaluate("document.querySelectorAll('#rows li').length") < before
    assert page.said == []


def test_the_camera_runs_until_it_is_stopped(page: Page, shipped: tuple[Path, Path]) -> None:
    click = "document.querySelector('#camera').click()"
    with serve(shipped[1]) as url:
        page.open(url)
        page.evaluate(click)
        assert page.wait_for(ANSWER)["detections"] is not None
        assert page.evaluate("document.querySelector('#camera').textContent") == "Stop"
        page.evaluate(click)
        assert page.evaluate("document.querySelector('#camera').textContent") == "Camera"
        assert page.evaluate(STATE.format("state.error")) is None


def test_nothing_can_be_sent(page: Page, shipped: tuple[Path, Path]) -> None:
    """By the page's own policy: the browser refuses before it looks for a network."""
    with serve(shipped[1]) as url, serve(shipped[1]) as elsewhere:
        page.open(url)
        page.said.clear()
        for attempt in (
            f"fetch('{elsewhere}model.json').then(() => 'sent', () => 'refused')",
            f"new Promise((done) => {{ const image = new Image(); image.src = '{elsewhere}x.png'; "
            "image.onload = () => done('sent'); image.onerror = () => done('refused') })",
        ):
            assert page.evaluate(attempt) == "refused"
        page.wait_for("true")
    assert sum("Content Security Policy" in each for each in page.said) >= 2


def test_what_goes_wrong_is_one_line(
    page: Page, shipped: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "words.png").write_text("no image")
    status = "document.querySelector('#status.bad')?.textContent"
    with serve(shipped[1]) as url:
        page.open(url)
        page.choose("#file", tmp_path / "words.png")
        assert page.wait_for(status) == "this is no image that browsers read"
    broken = shutil.copytree(shipped[1], tmp_path / "broken")
    (broken / "model.json").unlink()
    with serve(broken) as url:
        page.open(url)
        wanted = "cannot read model.json (404): copy the whole folder"
        assert page.evaluate(status) == wanted


def test_a_bundle_holds_what_the_page_loads(shipped: tuple[Path, Path]) -> None:
    """Every file that a module, the page or its style names; and the runtime's licence."""
    bundle = shipped[1]
    pages = [bundle / "index.html", *(bundle / "web").glob("*.mjs")]
    named = [
        (path.parent / name).resolve()
        for path in pages
        for name in re.findall(r"""["']((?:\./|web/)[^"']+\.\w+)["']""", path.read_text())
    ]
    assert len(named) > 10 and [path for path in named if not path.is_file()] == []
    assert "MIT License" in (bundle / "web" / "ort" / "LICENSE").read_text()
    readme = (bundle / "README.md").read_text()
    assert "python3 -m http.server" in readme and "python/run.py" not in readme
