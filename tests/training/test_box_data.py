"""Images with boxes: three formats, one result; what is broken is named and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgeark.errors import DataError
from edgeark.training.data import Frame, ImageSet, find_format, load_images
from edgeark.training.data.formats import Request
from edgeark.training.data.xml import parse_xml
from edgeark.zoo import model_entry
from PIL import Image

BOXES = [("cat", (10, 20, 50, 60)), ("dog", (0, 0, 80, 30))]
NAMES = [f"p{i}" for i in range(5)]
CLASSES = ("cat", "dog")
Options = dict[str, object]


def write_image(path: Path, size: tuple[int, int] = (80, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def voc_text(boxes: list, size: tuple[int, int] = (80, 60)) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in boxes
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{sides}{objects}</annotation>"


def write_voc(root: Path, boxes: list = BOXES) -> None:
    (root / "Annotations").mkdir(parents=True)
    for name in NAMES:
        write_image(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(voc_text(boxes))


def write_coco(root: Path, boxes: list = BOXES, **fields: object) -> None:
    annotations = []
    for index, name in enumerate(NAMES):
        write_image(root / "images" / f"{name}.png")
        for label, (x1, y1, x2, y2) in boxes:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": index,
                    "category_id": 7 if label == "cat" else 9,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    document = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(NAMES)],
        "annotations": annotations,
        "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}],
        **fields,
    }
    (root / "all.json").write_text(json.dumps(document))


def write_yolo(root: Path, boxes: list = BOXES) -> None:
    (root / "labels").mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for name in NAMES:
        write_image(root / "images" / f"{name}.png")
        lines = [
            f"{CLASSES.index(label)} {(x1 + x2) / 160} {(y1 + y2) / 120} "
            f"{(x2 - x1) / 80} {(y2 - y1) / 60}"
            for label, (x1, y1, x2, y2) in boxes
        ]
        (root / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")


FORMATS = {"voc_folder": write_voc, "coco_json": write_coco, "yolo_txt": write_yolo}


def load(kind: str, root: Path, split: str = "train", **options: object) -> ImageSet:
    return load_images(kind, split, root, shape=(3, 160, 160), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_boxes(kind: str, tmp_path: Path) -> None:
    FORMATS[kind](tmp_path)
    train, test = load(kind, tmp_path), load(kind, tmp_path, "test")
    assert (len(train), len(test)) == (4, 1)
    assert train.classes == CLASSES
    assert train.images.shape == (4, 3, 160, 160) and train.images.dtype == np.uint8
    assert train.labels.dtype == object and train.labels[0].dtype == np.float32
    # 80x60 becomes 160x120 with 20 rows of grey above and below.
    wanted = [[20, 60, 100, 140, 0], [0, 20, 160, 80, 1]]
    for rows in train.labels:
        assert np.allclose(rows, wanted, atol=1e-3)
    assert (train.images[:, :, :20] == 114).all() and not (train.images[:, :, 20:140] == 114).all()


def test_the_frame_is_the_networks(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    centred = load("yolo_txt", tmp_path, frame=Frame.of(model_entry("yolov5n").spec))
    corner = load("yolo_txt", tmp_path, frame=Frame.of(model_entry("yolox_nano").spec))
    assert np.array_equal(corner.images[:, :, :120], centred.images[:, ::-1, 20:140])
    assert np.allclose(corner.labels[0][:, :4] + [[0, 20, 0, 20]], centred.labels[0][:, :4])


def break_image(root: Path, kind: str) -> None:
    folder = root / ("JPEGImages" if kind == "voc_folder" else "images")
    content = (folder / "p1.png").read_bytes()
    (folder / "p1.png").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_broken_image_is_named_and_counted(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FORMATS[kind](tmp_path)
    break_image(tmp_path, kind)
    assert len(load(kind, tmp_path)) == 3
    assert "1 of 4 train images cannot be read and are left out: " in caplog.text
    assert "/p1.png" in caplog.text


@pytest.mark.parametrize("kind", FORMATS)
def test_boxes_without_area_are_dropped_and_counted(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FORMATS[kind](tmp_path, [*BOXES, ("cat", (5, 5, 5, 9)), ("dog", (90, 5, 99, 9))])
    train = load(kind, tmp_path)
    assert [len(rows) for rows in train.labels] == [2, 2, 2, 2]
    assert "8 of 16 train boxes have no area inside their image" in caplog.text
    assert "p0.png" in caplog.text


def test_boxes_over_the_edge_are_cut_off(tmp_path: Path) -> None:
    write_voc(tmp_path, [("cat", (-20, 30, 40, 90))])
    rows = load("voc_folder", tmp_path).labels[0]
    assert np.allclose(rows, [[0, 80, 80, 140, 0]])


BOMB = '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(encoding: str) -> None:
    with pytest.raises(DataError, match="document type"):
        parse_xml((f'<?xml version="1.0" encoding="{encoding}"?>' + BOMB).encode(encoding))


BAD_VOC = {
    "xml": "<annotation><object>",
    "bomb": BOMB,
    "no_name": "<annotation><object><bndbox/></object></annotation>",
    "no_number": voc_text([("cat", ("a", 1, 2, 3))]),
    "other_size": voc_text(BOXES, (640, 480)),
    "nothing": "",
}


@pytest.mark.parametrize("what", BAD_VOC)
def test_a_broken_annotation_leaves_its_image_out(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_voc(tmp_path)
    (tmp_path / "Annotations" / "p0.xml").write_text(BAD_VOC[what])
    (tmp_path / "Annotations" / "p1.xml").unlink()
    assert len(load("voc_folder", tmp_path)) == 2
    assert "2 of 4 train images cannot be read" in caplog.text
    assert "p0.png" in caplog.text and "p1.png" in caplog.text


@pytest.mark.parametrize(
    ("line", "reason"), [("0 0.5 0.5 0.1", "4 values"), ("7 .5 .5 .1 .1", "class 7"), ("x", "x")]
)
def test_a_broken_line_of_yolo_says_what(line: str, reason: str, tmp_path: Path) -> None:
    write_yolo(tmp_path)
    for name in NAMES:
        (tmp_path / "labels" / f"{name}.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=reason):
        load("yolo_txt", tmp_path)


def test_a_image_without_a_txt_has_no_objects(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels" / "p0.txt").unlink()
    assert sorted(len(rows) for rows in load("yolo_txt", tmp_path).labels) in ([0, 2, 2, 2],)


def test_parts_are_used_where_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("valid", 2), ("test", 1)):
        for index in range(count):
            write_image(tmp_path / part / "images" / f"{index}.jpg")
            (tmp_path / part / "labels").mkdir(exist_ok=True)
            (tmp_path / part / "labels" / f"{index}.txt").write_text("0 0.5 0.5 0.2 0.2")
    (tmp_path / "classes.txt").write_text("a\n")
    sizes = [len(load("yolo_txt", tmp_path, split)) for split in ("train", "val", "test")]
    assert sizes == [3, 2, 1]


def test_voc_lists_are_used_and_a_missing_image_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("p0\np3\ngone\n\n")
    (lists / "val.txt").write_text("p1\n")
    assert len(load("voc_folder", tmp_path)) == 2
    assert "gone.jpg" in caplog.text
    assert len(load("voc_folder", tmp_path, "test")) == 1, "the only part to test on"
    with pytest.raises(DataError, match="has no val part"):
        load("voc_folder", tmp_path, "val")


def change_coco(**fields: object) -> Callable[[Path], None]:
    return lambda root: write_coco(root, **fields)  # type: ignore[arg-type]


def test_crowds_and_strays_are_counted(tmp_path: Path) -> None:
    box = {"category_id": 7, "bbox": [1, 2, 30, 40]}
    boxes = [{"image_id": 0, **box}, {"image_id": 0, "iscrowd": 1, **box}, {"image_id": 99, **box}]
    write_coco(tmp_path, annotations=boxes)
    sets = [load("coco_json", tmp_path, split) for split in ("train", "test")]
    assert sum(len(rows) for found in sets for rows in found.labels) == 1
    found = {f.message for f in find_format("coco_json").open(Request(tmp_path)).findings}
    assert "1 of 3 annotations are around a crowd and are left out" in found
    assert "1 of 3 annotations are of no image in the list and are left out" in found


@pytest.mark.parametrize(
    "fields",
    [
        {"images": 5},
        {"categories": [{"id": 1}]},
        {"images": [{"id": 1}]},
    ],
)
def test_other_json_is_an_error(fields: Options, tmp_path: Path) -> None:
    change_coco(**fields)(tmp_path)
    with pytest.raises(DataError, match="not as COCO's"):
        load("coco_json", tmp_path)


@pytest.mark.parametrize("content", ["", "[", "5", "[" * 100_000])
def test_broken_json_is_an_error(content: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"cannot read|not as COCO's"):
        load("coco_json", tmp_path)


def test_coco_parts_must_agree(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_coco(tmp_path)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "all.json").rename(tmp_path / "annotations" / f"instances_{part}2017.json")
    assert len(load("coco_json", tmp_path, "test")) == 5
    path = tmp_path / "annotations" / "instances_test2017.json"
    path.write_text(path.read_text().replace('"dog"', '"cow"'))
    with pytest.raises(DataError, match="other categories"):
        load("coco_json", tmp_path, "test")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_not_there_is_one_line(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        load_images(kind, "train", shape=(3, 64, 64))
    with pytest.raises(DataError, match=r"no images|classes\.txt|has no train"):
        load(kind, tmp_path)
    FORMATS[kind](tmp_path)
    with pytest.raises(DataError, match="has no val part; set val_size"):
        load(kind, tmp_path, "val")


def test_the_blood_cells_are_as_published(caplog: pytest.LogCaptureFixture) -> None:
    try:
        val = load_images("bccd", "val", shape=(3, 64, 64))
    except DataError as error:
        pytest.skip(f"needs bccd: {error}")
    assert (len(val), val.classes) == (87, ("RBC", "WBC", "Platelets"))
    assert sum(len(rows) for rows in val.labels) == 1137
    assert "1 of 1138 val boxes have no area inside their image" in caplog.text
    assert "BloodImage_00338" in caplog.text
