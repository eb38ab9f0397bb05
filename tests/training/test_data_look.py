"""``edgeark data``: layouts that users have are read, and what is wrong with them is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgeark.errors import DataError
from edgeark.training.data import detect_format, load_images
from edgeark.training.data import pixels as pixels_module
from edgeark.training.data import store as store_module
from edgeark.training.data.inspect import inspect_folder
from edgeark.training.data.pixels import ImageHeader, decode
from edgeark.training.data.store import StoredArray
from edgeark.training.data.text import decode_text
from edgeark.zoo.tasks.images import to_input
from edgeark.zoo.tasks.letterbox import letterbox
from PIL import Image
from support import odd_folders as odd
from support.command import Run

Make = Callable[[Path], None]


def edit_annotations(change: Callable[[dict, dict], None]) -> Make:
    def edit(document: dict) -> None:
        for entry in document["annotations"]:
            change(entry, document)

    return lambda root: odd.coco(root, edit)


def as_string(entry: dict, _: dict) -> None:
    entry["image_id"] = str(entry["image_id"])


def as_corners(entry: dict, _: dict) -> None:
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]


def as_shares(entry: dict, _: dict) -> None:
    entry["bbox"] = [v / s for v, s in zip(entry["bbox"], odd.SIZE * 2, strict=True)]


def without_bolt(document: dict) -> None:
    document["categories"] = document["categories"][:1]
    document["annotations"][0]["bbox"] = []


def moved_labels(root: Path) -> None:
    odd.yolo(root)
    shutil.move(root / "labels", root / "lables")


def data_yaml(root: Path) -> None:
    odd.yolo(root, names=b"")
    text = "path: ../elsewhere\ntrain: images\nval: images\nnames: {0: nut, 1: bolt}\n"
    (root / "data.yaml").write_text(text)


def nested(root: Path) -> None:
    odd.class_folders(root, below="batch1/monday")


def parts(root: Path) -> None:
    odd.class_folders(root / "train")
    odd.class_folders(root / "valid")


# Format, and what makes the folder: each is read completely, with both classes.
READ: dict[str, tuple[str, Make]] = {
    "class folders": ("image_folder", odd.class_folders),
    "tiff": ("image_folder", lambda root: odd.class_folders(root, "tif")),
    "nested": ("image_folder", nested),
    "train and valid": ("image_folder", parts),
    "table": ("image_csv", odd.table),
    "yolo": ("yolo_txt", odd.yolo),
    "data.yaml": ("yolo_txt", data_yaml),
    "polygons": ("yolo_txt", lambda root: odd.yolo(root, polygons=True)),
    "utf-16": ("yolo_txt", lambda root: odd.yolo(root, encoding="utf-16")),
    "coco": ("coco_json", odd.coco),
    "ids as text": ("coco_json", edit_annotations(as_string)),
    "exif": ("coco_json", lambda root: odd.coco(root, orientation=6)),
    "labelme": ("labelme", odd.labelme),
    "cvat": ("cvat_xml", odd.cvat),
    "label studio": ("label_studio", odd.label_studio),
}


@pytest.mark.parametrize("what", READ)
def test_a_layout_is_recognized_and_read(what: str, tmp_path: Path) -> None:
    kind, make = READ[what]
    make(tmp_path)
    assert detect_format(tmp_path).name == kind
    look, _ = inspect_folder(tmp_path)
    assert not [f.describe() for f in look.findings if f.severity == "error"]
    assert set(look.classes) == set(odd.CLASSES) and not look.broken
    count = sum(look.figures["images"].values())
    assert count == (2 * odd.COUNT if what == "train and valid" else odd.COUNT)
    if look.task == "detection":
        assert look.figures["boxes"]["total"] == 2 * odd.COUNT


@pytest.mark.parametrize("kind", ["coco_json", "labelme", "cvat_xml", "label_studio", "yolo_txt"])
def test_every_tool_gives_the_same_boxes(kind: str, tmp_path: Path) -> None:
    next(make for name, make in READ.values() if name == kind)(tmp_path)
    train = load_images(kind, "train", tmp_path, shape=(3, *odd.SIZE[::-1]))
    order = [train.classes.index(name) for name in odd.CLASSES]
    wanted = {tuple(box) for n in range(odd.COUNT) for _, box in odd.make_boxes(n)}
    for rows in train.labels:
        assert sorted(rows[:, 4].tolist()) == sorted(order)
        assert all(tuple(np.round(row[:4]).tolist()) in wanted for row in rows)


def test_boxes_turn_with_their_image(tmp_path: Path) -> None:
    """EXIF 6 is a quarter turn; the rectangles stay under their boxes."""
    for orientation in range(1, 9):
        root = tmp_path / str(orientation)
        odd.coco(root, orientation=orientation)
        if orientation in (2, 3, 4):
            continue  # the stated size does not tell: taken as drawn on the upright image
        side = max(odd.SIZE)
        train = load_images("coco_json", "train", root, shape=(3, side, side))
        for image, rows in zip(train.images[:3], train.labels[:3], strict=True):
            for x1, y1, x2, y2, _ in np.round(rows).astype(int).tolist():
                assert image[:, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 150


ERRORS: dict[str, tuple[str, Make, str]] = {
    "label names": ("yolo_txt", lambda r: odd.yolo(r, label="{}.png.txt"), "rename labels/"),
    "label folder": ("yolo_txt", moved_labels, "no label file fits an image"),
    "pixels": ("yolo_txt", lambda r: odd.yolo(r, scale=False), "coordinates are pixels"),
    "from 1": ("yolo_txt", lambda r: odd.yolo(r, first=1), "counted from 1 to 2"),
    "corners": ("coco_json", edit_annotations(as_corners), "look like corners"),
    "shares": ("coco_json", edit_annotations(as_shares), "shares of the sides"),
    "black": (
        "mask_folder",
        lambda r: odd.masks(r, lambda m: Image.fromarray(0 * m)),
        "nothing is marked",
    ),
    "void": (
        "mask_folder",
        lambda r: odd.masks(r, lambda m: Image.fromarray(odd.with_void(m))),
        "pass --ignore 255",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_what_is_certainly_wrong_stops_a_training_with_one_line(
    what: str, tmp_path: Path, run: Run
) -> None:
    kind, make, message = ERRORS[what]
    make(tmp_path / "in")
    recipe = {"yolo_txt": "yolov5n_bccd", "coco_json": "yolov5n_bccd"}.get(kind, "unet_8")
    result = run("train", recipe, "--dataset", kind, "--data", tmp_path / "in",
                 "--out", tmp_path / "run")  # fmt: skip
    assert result.status == 2 and message in " ".join(result.err.split())
    assert not (tmp_path / "run").exists()
    assert run("data", tmp_path / "in", "--dataset", kind).status == 2


def test_what_is_probably_wrong_is_a_warning(tmp_path: Path) -> None:
    odd.coco(tmp_path / "coco", without_bolt)
    look, _ = inspect_folder(tmp_path / "coco")
    texts = [finding.describe() for finding in look.findings if finding.severity != "info"]
    assert any("category_id that no category has (2)" in text for text in texts)
    assert any("no bbox of four numbers" in text and "annotation 0" in text for text in texts)

    odd.masks(tmp_path / "masks", lambda mask: Image.fromarray(255 * (1 - mask)))
    assert "inverted" in {f.code for f in inspect_folder(tmp_path / "masks")[0].findings}

    odd.class_folders(tmp_path / "rare")
    for path in sorted((tmp_path / "rare/bolt").iterdir())[1:]:
        path.unlink()
    (tmp_path / "rare/screw").mkdir()
    codes = {finding.code for finding in inspect_folder(tmp_path / "rare")[0].findings}
    assert {"class-without-test", "empty-class"} <= codes


def test_copies_across_the_parts_are_found(tmp_path: Path) -> None:
    parts(tmp_path)
    for path in (tmp_path / "valid").rglob("*.png"):
        number = int(path.stem)
        if number == 0:
            continue  # the very file that is trained on
        image = odd.make_image(number + 1000)
        if number == 1:  # nearly that file
            near = np.asarray(odd.make_image(1)).astype(int) + np.arange(3)
            image = Image.fromarray(near.astype(np.uint8))
        image.save(path)
    found = {f.code: f for f in inspect_folder(tmp_path)[0].findings}
    assert found["overlap"].count == 1 and "0.png" in found["overlap"].items[0]
    assert found["near-duplicate"].items == ("valid/bolt/1.png ~ train/bolt/1.png",)


BLACK_WHITE, WHITE_BLACK = [0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0]
VOC = [0, 0, 0, 128, 0, 0, *[0] * 759, 224, 224, 192]
MASKS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "0 and 1": Image.fromarray,
    "0 and 255": lambda m: Image.fromarray(255 * m),
    "rgb": lambda m: Image.fromarray(255 * m).convert("RGB"),
    "red": lambda m: Image.fromarray(np.stack([255 * m, 0 * m, 0 * m], axis=2)),
    "palette": lambda m: odd.palette(m, BLACK_WHITE),
    "palette inverted": lambda m: odd.palette(1 - m, WHITE_BLACK),
    "palette adaptive": lambda m: (
        Image.fromarray(255 * m).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    ),
}


@pytest.mark.parametrize("what", MASKS)
def test_a_mask_means_what_it_shows(what: str, tmp_path: Path) -> None:
    odd.masks(tmp_path / "plain", Image.fromarray)
    odd.masks(tmp_path / "odd", MASKS[what])
    wanted, found = (
        load_images("mask_folder", "train", tmp_path / name, shape=(3, *odd.SIZE[::-1])).labels
        for name in ("plain", "odd")
    )
    assert wanted.any() and np.array_equal(wanted, found)


def test_ignored_pixels_are_of_no_class(tmp_path: Path) -> None:
    shape = (3, *odd.SIZE[::-1])
    odd.masks(tmp_path / "gray", lambda m: Image.fromarray(odd.with_void(m)))
    odd.masks(tmp_path / "voc", lambda m: odd.palette(odd.with_void(m), VOC))
    given = load_images("mask_folder", "train", tmp_path / "gray", shape=shape, ignore=255).labels
    known = load_images("mask_folder", "train", tmp_path / "voc", shape=shape).labels
    assert set(np.unique(given)) == {0, 1, 255} and np.array_equal(given, known)
    (tmp_path / "voc/classes.txt").write_text("background\nnut\n")
    named = load_images("mask_folder", "train", tmp_path / "voc", shape=shape)
    assert len(named.classes) == 2 and np.array_equal(named.labels, known)


def test_colors_of_classes_may_be_stated(tmp_path: Path) -> None:
    def colored(mask: np.ndarray) -> Image.Image:
        return Image.fromarray(np.stack([200 * mask, 0 * mask, 200 - 200 * mask], axis=2))

    odd.masks(tmp_path, colored)
    with pytest.raises(DataError, match="write a line `name R G B` a class"):
        load_images("mask_folder", "train", tmp_path)
    for text in ("table 0 0 200\nnut 200 0 0\n", "nut:200,0,0::\nbackground:0,0,200::\n"):
        (tmp_path / "classes.txt").write_text(text)
        found = load_images("mask_folder", "train", tmp_path, shape=(3, *odd.SIZE[::-1]))
        assert found.classes[1] == "nut" and 0.02 < (found.labels == 1).mean() < 0.2


@pytest.mark.parametrize("peak", [4095, 65535])
def test_sensor_images_are_scaled_by_one_rule(peak: int, tmp_path: Path) -> None:
    odd.class_folders(tmp_path / "plain")
    odd.sensor(tmp_path / "deep", peak)
    shape = (1, *odd.SIZE[::-1])
    plain, deep = (
        load_images("image_folder", "train", tmp_path / name, shape=shape).images.astype(int)
        for name in ("plain", "deep")
    )
    assert np.abs(plain - deep).max() <= 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gbk"])
def test_text_is_read_in_the_encodings_of_tools(encoding: str) -> None:
    text = "红细胞\n白细胞 wbc\n" if encoding != "utf-16-le" else "red cell\nwhite cell\n"
    assert decode_text(text.encode(encoding), "classes.txt") == text
    with pytest.raises(DataError, match="save it as UTF-8"):
        decode_text(b"\xff\xff\xff", "classes.txt")


def test_a_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels_module, "MAX_PIXELS", 10_000_000)
    Image.new("1", (20_000, 1_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="more than 10 million pixels are refused"):
        decode((tmp_path / "bomb.png").read_bytes())


def test_long_images_are_resized_without_a_dense_matrix() -> None:
    ramp = np.tile(np.linspace(0, 255, 1_000_000).astype(np.uint8), (2, 1))
    small = to_input(ramp, (32, 64), 1)[0, 0]
    assert np.abs(small.astype(float) - np.linspace(2, 253, 64)).max() < 3
    canvas, mapping = letterbox(ramp, (32, 64), "gray")
    assert canvas.shape == (1, 1, 32, 64) and mapping.image_size == (2, 1_000_000)


def test_sets_beyond_memory_are_kept_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.class_folders(tmp_path / "in")
    kept = load_images("image_folder", "train", tmp_path / "in", shape=(3, 8, 8))
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store_module, "MAX_BYTES_IN_MEMORY", 100)
    stored = load_images("image_folder", "train", tmp_path / "in", shape=(3, 8, 8))
    assert isinstance(stored.images, StoredArray) and not any(
        (tmp_path / "cache/scratch").iterdir()
    )
    assert np.array_equal(np.asarray(stored.images), kept.images)
    assert np.array_equal(stored.images[3], kept.images[3])
    assert np.array_equal(stored.images[[5, 1]], kept.images[[5, 1]])
    rest, held = stored.split_off(6)
    wanted = kept.split_off(6)[1]
    assert isinstance(held.images, StoredArray) and len(rest) + len(held) == len(stored)
    assert np.array_equal(held.images[:], wanted.images)
    batch, labels = held.__getitems__([0, 2])
    assert np.array_equal(batch.numpy(), wanted.images[[0, 2]]) and len(labels) == 2


def test_headers_turn_boxes_as_images() -> None:
    pixels = np.zeros((6, 9), np.uint8)
    pixels[1:3, 2:6] = 255
    for orientation in range(1, 9):
        header = ImageHeader((6, 9), "L", orientation)
        turned = np.asarray(header.turn(Image.fromarray(pixels)))
        ys, xs = np.nonzero(turned)
        box = header.turn_boxes(np.array([[2.0, 1, 6, 3, 0]]))[0]
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0]
        assert turned.shape == header.size


def test_the_command_writes_a_sheet_and_json(tmp_path: Path, run: Run) -> None:
    odd.yolo(tmp_path / "in")
    result = run("data", tmp_path / "in", "--out", tmp_path / "sheets", "--json")
    document = json.loads(result.out)
    assert result.status == 0 and document["dataset"] == "yolo_txt"
    assert document["per_class"]["nut"] == {"train": 24, "test": 6}
    assert document["findings"][0].keys() == {"severity", "code", "message", "items", "count"}
    assert Image.open(tmp_path / "sheets/sheet.png").size[0] > 1000
    assert "data:image/png" in (tmp_path / "sheets/sheet.html").read_text()
    shown = run("data", tmp_path / "in", "--out", tmp_path / "one.png")
    assert shown.status == 0 and "24 train, 6 test" in shown.out and (tmp_path / "one.png").exists()
    assert run("data", tmp_path / "nowhere").status == 2
