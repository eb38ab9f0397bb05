"""Small folders of generated images, each with one thing that users' folders have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 30
CLASSES = ("nut", "bolt")
SIZE = (48, 40)  # width, height
Boxes = list[tuple[int, tuple[float, float, float, float]]]


def make_image(number: int) -> Image.Image:
    """Noise with a bright rectangle, of its own for every number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for _, (x1, y1, x2, y2) in make_boxes(number):
        pixels[int(y1) : int(y2), int(x1) : int(x2)] = 230
    return Image.fromarray(pixels)


def make_boxes(number: int) -> Boxes:
    """A box of either class, in pixels."""
    x, y = 3 + number % 7, 4 + number % 5
    return [(0, (x, y, x + 12, y + 10)), (1, (x + 20, y + 9, x + 32, y + 24))]


def save(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def class_folders(root: Path, suffix: str = "png", below: str = "") -> None:
    for number in range(COUNT):
        folder = root / CLASSES[number % 2] / below
        save(folder / f"{number}.{suffix}", make_image(number))


def table(root: Path) -> None:
    lines = ["image,label"]
    for number in range(COUNT):
        part = "test" if number % 5 == 0 else "train"
        save(root / part / f"{number}.png", make_image(number))
        lines.append(f"{part}/{number}.png,{CLASSES[number % 2]}")
    (root / "labels.csv").write_text("\n".join(lines))


def sensor(root: Path, peak: int) -> None:
    for number in range(COUNT):
        gray = np.asarray(make_image(number).convert("L")).astype(np.float32) / 255
        values = Image.fromarray((gray * peak).astype(np.uint16))
        save(root / CLASSES[number % 2] / f"{number}.png", values)


def masks(root: Path, edit: Callable[[np.ndarray], Image.Image], suffix: str = "png") -> None:
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", make_image(number))
        mask = np.zeros(SIZE[::-1], np.uint8)
        x1, y1, x2, y2 = (int(side) for side in make_boxes(number)[0][1])
        mask[y1:y2, x1:x2] = 1
        save(root / "masks" / f"{number}.{suffix}", edit(mask))


def palette(mask: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.fromarray(mask, "P")
    image.putpalette(colors)
    return image


def with_void(mask: np.ndarray) -> np.ndarray:
    edged = mask.copy()
    edged[1:][mask[1:] != mask[:-1]] = 255
    return edged


def yolo(
    root: Path,
    *,
    scale: bool = True,
    first: int = 0,
    label: str = "{}.txt",
    names: bytes = b"nut\nbolt\n",
    polygons: bool = False,
    encoding: str = "utf-8",
) -> None:
    (root / "labels").mkdir(parents=True)
    width, height = SIZE if scale else (1, 1)
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", make_image(number))
        lines = []
        for index, (x1, y1, x2, y2) in make_boxes(number):
            values = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
            if polygons:
                values = [x1, y1, x2, y1, x2, y2, x1, y2]
            shares = [v / (width, height)[i % 2] for i, v in enumerate(values)]
            lines.append(" ".join(map(str, [index + first, *shares])))
        path = root / "labels" / label.format(number)
        path.write_bytes("\n".join(lines).encode(encoding))
    if names:
        (root / "classes.txt").write_bytes(names)


def coco(
    root: Path, edit: Callable[[dict], None] = lambda document: None, orientation: int = 1
) -> None:
    entries, annotations = [], []
    for number in range(COUNT):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(root / "images" / f"{number}.png", make_image(number), exif=exif)
        entries.append(
            {"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]}
        )
        for index, (x1, y1, x2, y2) in make_boxes(number):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": index + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    document = {"images": entries, "annotations": annotations, "categories": categories}
    edit(document)
    (root / "annotations.json").write_text(json.dumps(document))


def labelme(root: Path) -> None:
    for number in range(COUNT):
        save(root / f"{number}.png", make_image(number))
        shapes = []
        for index, (x1, y1, x2, y2) in make_boxes(number):
            corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
            points = corners if index else [corners[2], corners[0]]
            shapes.append({"label": CLASSES[index], "points": points, "shape_type": "any"})
        document = {
            "shapes": shapes,
            "imagePath": f"..\\{number}.png",
            "imageWidth": SIZE[0],
            "imageHeight": SIZE[1],
        }
        (root / f"{number}.json").write_text(json.dumps(document))


def cvat(root: Path) -> None:
    images = []
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", make_image(number))
        shapes = ""
        for index, (x1, y1, x2, y2) in make_boxes(number):
            if index:
                points = f"{x1},{y1};{x2},{y1};{x2},{y2}"
                shapes += f'<polygon label="bolt" points="{points}"/>'
            else:
                shapes += f'<box label="nut" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
        images.append(
            f'<image id="{number}" name="{number}.png" width="{SIZE[0]}" height="{SIZE[1]}">'
            f"{shapes}</image>"
        )
    text = f"<annotations><version>1.1</version>{''.join(images)}</annotations>"
    (root / "annotations.xml").write_text(text)


def label_studio(root: Path) -> None:
    tasks = []
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", make_image(number))
        results = []
        for index, (x1, y1, x2, y2) in make_boxes(number):
            value = {
                "x": 100 * x1 / SIZE[0],
                "y": 100 * y1 / SIZE[1],
                "width": 100 * (x2 - x1) / SIZE[0],
                "height": 100 * (y2 - y1) / SIZE[1],
                "rectanglelabels": [CLASSES[index]],
            }
            results.append(
                {
                    "type": "rectanglelabels",
                    "value": value,
                    "original_width": SIZE[0],
                    "original_height": SIZE[1],
                }
            )
        image = f"/data/upload/1/ab12cd34-{number}.png"
        tasks.append({"data": {"image": image}, "annotations": [{"result": results}]})
    (root / "export.json").write_text(json.dumps(tasks))
