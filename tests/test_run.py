"""``edgeark run``: a file, a picture, and what comes out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from edgeark import cli
from edgeark.errors import DataError, EdgearkError
from edgeark.export.kpu import KmodelError, Simulator, write_kmodel
from edgeark.export.run import read_picture, run_artifact
from edgeark.zoo.tasks.pictures import to_input
from kpu_cases import digit_net, operator_net
from PIL import Image


@pytest.fixture
def kmodel(tmp_path: Path) -> Path:
    path = tmp_path / "digits.kmodel"
    path.write_bytes(write_kmodel(digit_net()))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_the_picture_is_resized_to_the_kmodels_input(kmodel: Path, picture: Path) -> None:
    pixels = np.asarray(Image.open(picture))
    wanted = Simulator(digit_net()).run(to_input(pixels, (16, 16), 1))
    (found,) = run_artifact(kmodel, picture)
    assert found.shape == (1, 4) and np.array_equal(found, wanted[0])


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("RGB", (6, 5, 3)), ("RGBA", (6, 5, 3)), ("P", (6, 5, 3)), ("L", (6, 5)), ("1", (6, 5))],
)
def test_pictures_of_every_mode_are_read(mode: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    Image.new(mode, (5, 6)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.shape == shape and found.dtype == np.uint8


def test_a_cameras_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("L", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (8, 4)


def test_what_cannot_be_run_is_one_line(kmodel: Path, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgearkError, match=r"cannot run picture.png: .* end in .kmodel"):
        run_artifact(picture, picture)
    with pytest.raises(DataError, match=r"cannot read the picture .*digits.kmodel"):
        run_artifact(kmodel, kmodel)
    with pytest.raises(DataError, match="cannot read the picture"):
        run_artifact(kmodel, tmp_path / "none.png")
    with pytest.raises(FileNotFoundError):
        run_artifact(tmp_path / "none.kmodel", picture)
    newer = tmp_path / "newer.kmodel"
    newer.write_bytes(b"LDMK\x05\0\0\0" + bytes(100))
    with pytest.raises(KmodelError, match=r"newer.kmodel: a kmodel v5: .*edgeark runs v3"):
        run_artifact(newer, picture)
    two = tmp_path / "two.kmodel"
    two.write_bytes(write_kmodel(operator_net()))
    with pytest.raises(KmodelError, match=r"two.kmodel: its input is \[2, 8, 40\]"):
        run_artifact(two, picture)


def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["edgeark", "run", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), *capfd.readouterr()


def test_the_command_prints_the_outputs(
    kmodel: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = run(monkeypatch, capfd, kmodel, "--input", picture, "--json")
    assert status == 0
    document = json.loads(out)
    assert list(document) == ["outputs"]
    assert np.array_equal(
        np.array(document["outputs"][0], np.float32), run_artifact(kmodel, picture)[0]
    )
    status, out, _ = run(monkeypatch, capfd, kmodel, "--input", picture)
    assert status == 0 and "1x4" in out and "float32" in out
    status, out, err = run(monkeypatch, capfd, picture, "--input", picture)
    assert status == 2 and out == "" and "error: cannot run picture.png" in err
