"""Images of a training, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from ..zoo.tasks.boxes import Boxes
from ..zoo.tasks.segmentation import class_colors, overlay


def save_curves(history: Sequence[dict[str, float]], metric: str, path: Path) -> None:
    """Loss and validation metric over the epochs, side by side."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, key, title in zip(
        axes, ("loss", metric), ("training loss", f"validation {metric}"), strict=True
    ):
        axis.plot(epochs, [row[key] for row in history], marker=".", color="tab:blue")
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=110)


def save_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """A confusion matrix ``[K, K]`` (rows: what it is): shades are shares of a row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2 + 0.42 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axis.set_xticks(ticks, classes, rotation=90)
    axis.set_yticks(ticks, classes)
    axis.set(xlabel="taken for", ylabel="is")
    if len(classes) <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "white" if shares[row, column] > 0.5 else "black"
            text = {"ha": "center", "va": "center", "fontsize": 7, "color": shade}
            axis.text(column, row, str(counts[row, column]), **text)
    figure.savefig(path, format="png", dpi=110)


def save_predictions(
    images: np.ndarray,
    wanted: np.ndarray,
    found: np.ndarray,
    titles: Sequence[str],
    path: Path,
) -> None:
    """A column an image: as it is, with its true mask, with the mask that was found.

    Args:
        images: uint8 ``[N, C, h, w]``, gray or rgb.
        wanted: the true masks ``[N, h, w]``.
        found: the network's, likewise.
        titles: one an image.
        path: the PNG file.
    """
    colors = class_colors(int(max(wanted.max(), found.max())) + 1)
    figure = Figure(figsize=(1.6 * len(images), 5.2), layout="constrained")
    columns = figure.subplots(3, len(images), squeeze=False).T
    for axes, planes, truth, mask, title in zip(
        columns, images, wanted, found, titles, strict=True
    ):
        image = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
        for axis, painted in zip(axes, (truth * 0, truth, mask), strict=True):
            axis.imshow(overlay(image, painted, colors))
            axis.set(xticks=[], yticks=[])
        axes[0].set_title(title, fontsize=8)
    for axis, name in zip(columns[0], ("image", "truth", "prediction"), strict=True):
        axis.set_ylabel(name)
    figure.savefig(path, format="png", dpi=110)


def spread(total: int, count: int = 5) -> list[int]:
    """Indices evenly through ``total`` images, so that nobody chose the good ones."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))


def draw_boxes(picture: np.ndarray, color: str, boxes: Boxes) -> Image.Image:
    """A raw image, uint8 ``[C, H, W]``, with the outlines of boxes, one colour a class."""
    planes = picture[::-1] if color == "bgr" else picture
    rgb = np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    pen = ImageDraw.Draw(image)
    for corners, index in zip(boxes.xyxy.tolist(), boxes.classes.tolist(), strict=True):
        pen.rectangle(corners, outline=class_colors(index + 2)[index + 1], width=2)
    return image


def save_detections(
    images: np.ndarray,
    color: str,
    wanted: Sequence[Boxes],
    found: Sequence[Boxes],
    path: Path,
) -> None:
    """A column an image: with its true boxes, with those that were found.

    Args:
        images: uint8 ``[N, C, h, w]``.
        color: the order of their channels.
        wanted: N times the true boxes.
        found: N times the network's.
    """
    height, width = images.shape[2:]
    sheet = Image.new("RGB", (len(images) * width, 2 * height))
    for row, boxes in enumerate((wanted, found)):
        for column, (image, these) in enumerate(zip(images, boxes, strict=True)):
            sheet.paste(draw_boxes(image, color, these), (column * width, row * height))
    sheet.save(path, format="png")
