"""``edgeark run`` on folders and videos, and what it draws."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.errors import EdgearkError
from edgeark.export.frames import Drawings, Source
from edgeark.export.run import Answer, answer_image, open_network
from edgeark.export.targets import find_target
from edgeark.export.tasks import get_task
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ModelSpec
from PIL import Image
from support.command import Run
from support.exports import export

NAMES = ("a.png", "a.jpg", "b.gif", "deep/c.jpg", "gray.pgm")


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        mode = (40, 30) if name == "gray.pgm" else (40, 30, 3)
        Image.fromarray(rng.integers(0, 256, mode, np.uint8)).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_gives_a_folder(photos: Path, tmp_path: Path, run: Run) -> None:
    _, made = export("unet_8", tmp_path)
    out = tmp_path / "drawn"
    (out / "deep").mkdir(parents=True)
    (out / "kept.txt").write_text("of the user's")
    done = run("run", made, "--image", photos, "--out", out, "--json")
    assert done.status == 0, done.err
    assert [each["image"] for each in done.json] == sorted(NAMES)
    drawn = {"a.png.png", "a.jpg.png", "b.png", "deep/c.jpg", "gray.png"}
    masks = {"a.png.mask.png", "a.jpg.mask.png", "b.mask.png", "deep/c.mask.png", "gray.mask.png"}
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert found == {*drawn, *masks, "kept.txt"}
    assert {each["mask"] for each in done.json} == {str(out / mask) for mask in masks}
    for name in drawn:
        assert np.asarray(Image.open(out / name)).shape == (40, 30, 3)
    alone = answer_image(str(made), photos / "deep/c.jpg")
    assert np.array_equal(np.asarray(Image.open(out / "deep/c.mask.png")), alone.meaning["mask"])
    lines = run("run", made, "--image", photos, "--limit", 2).out.splitlines()
    assert len(lines) == 3 and lines[0].startswith(f"{made}, answered by onnxruntime float32")
    assert lines[1].startswith("a.jpg: ") and "%" in lines[1]


def test_nothing_is_half_written(photos: Path, tmp_path: Path, run: Run) -> None:
    _, made = export("unet_8", tmp_path)
    (photos / "z.png").write_bytes((photos / "a.png").read_bytes()[:200])
    before = sorted(tmp_path.iterdir())
    for more in ((), ("--json",)):
        done = run("run", made, "--image", photos, "--out", tmp_path / "drawn", *more)
        assert done.status == 2 and "cannot read the image" in done.err and "z.png" in done.err
        assert sorted(tmp_path.iterdir()) == before
    assert done.out == ""


def test_images_stream(tmp_path: Path) -> None:
    """No more of them are read than are answered at once."""
    _, made = export("mobilenet_v1_025", tmp_path)
    read = []

    def images():
        for index in range(40):
            read.append(index)
            yield np.full((20, 20, 3), index, np.uint8)

    with open_network(str(made)) as network:
        for count, _ in enumerate(network.answers(images()), 1):
            assert len(read) <= count + 16
        assert count == 40
        live = network.answers(images(), live=True)
        read.clear()
        next(live)
        assert len(read) == 1


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("photos", "x.png", "of photos drawings go to a folder"),
        ("photos/a.png", "x.mp4", "a file of the same kind"),
        ("photos/a.png", "notes", "is a file there"),
        ("camera:x", None, "a camera is named by its number"),
        ("none.mp4", None, "there is no none.mp4"),
        ("empty", None, "there is no image in the folder empty"),
    ],
)
def test_what_does_not_fit_is_one_line(
    source: str,
    out: str | None,
    message: str,
    photos: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    Path("notes").write_text("")
    done = run("run", "mnist_kpu", "--image", source, *(("--out", out) if out else ()))
    assert done.status == 2 and not done.out
    assert message in " ".join(done.err.split()) and done.err.count("\n") == 1


def test_what_is_not_known_is_not_drawn(photos: Path, tmp_path: Path) -> None:
    spec = ModelSpec("raw", (8, 8), "gray", (0.0,), (1.0,), (), "", "net", "")
    answer = Answer([np.zeros((1, 3), np.float32)], {}, spec, "nobody", np.zeros((8, 8), np.uint8))
    assert answer.describe() == "output 0 1x3 0 to 0"
    with pytest.raises(EdgearkError, match="not known what the outputs mean"):
        answer.draw()


@pytest.mark.parametrize("shape", [(40, 60, 3), (7, 5), (300, 200, 3)])
def test_boxes_and_names_stay_inside(shape: tuple[int, ...]) -> None:
    """Of every size, at every edge, with names that no font has."""
    height, width = shape[:2]
    image = np.zeros(shape, np.uint8)
    found = [
        {"box": [x, y, x + width / 3, y + height / 3], "score": 0.5, "class": i, "name": name}
        for i, (x, y, name) in enumerate(
            [(0, 0, "größe"), (0.7 * width, 0.7 * height, "\U0010ffff猫"), (0, height / 2, "")]
        )
    ]
    task, spec = get_task("detection"), model_entry("yolov5n").spec
    drawn = task.draw(spec, image, {"detections": found})
    assert drawn.shape == (height, width, 3) and drawn.any()
    assert not image.any()
    assert np.array_equal(task.draw(spec, image, {"detections": []}), np.zeros_like(drawn))


def test_the_best_box_is_on_top() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    boxes = [
        {"box": [20.0, 40.0, 80.0, 80.0], "score": s, "class": c, "name": "x"}
        for s, c in ((0.9, 0), (0.3, 1))
    ]
    task, spec = get_task("detection"), model_entry("yolov5n").spec
    both = task.draw(spec, image, {"detections": boxes})
    best = task.draw(spec, image, {"detections": boxes[:1]})
    assert np.array_equal(both[79, 20:80], best[79, 20:80]) and best[79, 20].any()


def test_a_window_needs_a_display(
    photos: Path, run: Run, opencv: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = run("run", "mnist_kpu", "--image", photos / "a.png", "--show")
    assert done.status == 2 and "no display" in done.err


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The toolchain's OpenCV, in this process, last on the path."""
    toolchain = find_target("opencv").toolchain
    assert toolchain is not None
    python = toolchain.ensure()
    (place,) = python.parent.parent.glob("lib/python*/site-packages")
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    import cv2  # pyright: ignore[reportMissingImports]

    return cv2


def write_film(path: Path, opencv: Any, count: int = 20) -> None:
    writer = opencv.VideoWriter(str(path), opencv.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 12 * index, np.uint8))
    writer.release()


@pytest.mark.toolchain("opencv")
def test_a_video_gives_a_video(opencv: Any, tmp_path: Path, run: Run) -> None:
    _, made = export("unet_8", tmp_path)
    film, out = tmp_path / "film.avi", tmp_path / "drawn.avi"
    write_film(film, opencv)
    done = run("run", made, "--image", film, "--out", out, "--json")
    assert done.status == 0, done.err
    assert [each["image"] for each in done.json] == [f"{film}#{i}" for i in range(20)]
    assert "mask" not in done.json[0] and done.json[0]["shares"]
    capture = opencv.VideoCapture(str(out))
    assert capture.get(opencv.CAP_PROP_FPS) == 10
    frames = [capture.read() for _ in range(21)]
    assert [there for there, _ in frames] == [True] * 20 + [False]
    assert frames[0][1].shape == (48, 64, 3)
    folder = tmp_path / "frames"
    done = run("run", made, "--image", film, "--out", folder, "--limit", 3)
    assert done.status == 0 and len(done.out.splitlines()) == 4
    assert len(list(folder.glob("film-00000?.png"))) == 3
    assert len(list(folder.glob("film-00000?.mask.png"))) == 3
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[:100])
    done = run("run", made, "--image", broken, "--out", out)
    assert done.status == 2 and "cannot open" in done.err and len(done.err.splitlines()) == 1
    done = run("run", made, "--image", "camera:77")
    assert done.status == 2 and "cannot open camera:77" in done.err


def test_without_opencv_a_video_is_one_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "film.mp4").touch()
    done = run("run", "mnist_kpu", "--image", tmp_path / "film.mp4")
    assert done.status == 2 and "pip install 'edgeark[video]'" in " ".join(done.err.split())


@pytest.mark.toolchain("opencv")
def test_a_window_shows_frames_until_it_is_closed(
    opencv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    shown: list[np.ndarray] = []
    monkeypatch.setattr(opencv, "imshow", lambda _, pixels: shown.append(pixels))
    monkeypatch.setattr(opencv, "waitKey", lambda _: ord("q") if len(shown) == 3 else 0)
    film = tmp_path / "film.avi"
    write_film(film, opencv)
    source = Source(str(film))
    drawings = Drawings(source, None, show=True)
    spec = model_entry("mobilenet_v1_025").spec
    meaning = {"classes": [{"name": "x", "index": 0, "score": 0.5}]}
    results = []
    with drawings.opened():
        for frame in source.frames():
            answer = Answer([], meaning, spec, "nobody", np.asarray(frame.image))
            results.append(drawings.add(frame, answer))
            if not results[-1]:
                break
    assert results == [True, True, False] and shown[0].shape == (48, 64, 3)
