"""Random changes to images with boxes: four in one, moved, scaled, turned, mirrored.

Mosaics are Bochkovskiy et al.'s ("YOLOv4", 2020). A change is one matrix for the pixels and for the
boxes. All randomness is torch's own generator, which the loop seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torch.utils.data import Dataset

from ...zoo.tasks.letterbox import GREY
from ..config import AugmentConfig
from .images import ImageSet

_MIN_SIDE = 2.0  # pixels; less of a box is nothing to be learned
_MIN_SHARE = 0.1  # of a box's area: less of it says little of what it was


@dataclass(frozen=True)
class AugmentedImages(Dataset):
    """A set that hands out changed images, in batches: see :meth:`__getitems__`."""

    images: ImageSet
    config: AugmentConfig
    mosaic: float  # share of the images that are made of four

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Images uint8 ``[N, C, H, W]`` and the boxes of all, float32 ``[n, 6]``.

        A row is the image's place in the batch, x1, y1, x2, y2 in pixels, class.
        """
        changed, rows = [], []
        for place, index in enumerate(indices):
            mosaic = torch.rand(()).item() < self.mosaic
            canvas, labels = self.mosaic_of(index) if mosaic else self.plain(index)
            image, labels = self.change(canvas, labels)
            changed.append(image)
            rows.append(np.insert(labels, 0, place, axis=1))
        return torch.stack(changed), torch.from_numpy(np.concatenate(rows).astype(np.float32))

    def plain(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One image ``[C, H, W]`` and its labels ``[k, 5]``."""
        return self.images.images[index], self.images.labels[index]

    def mosaic_of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Four images that meet at a random point of a canvas ``[C, 2H, 2W]``, and their labels.

        The first is ``index``, the others are drawn. Their own grey borders are left out, so that
        they meet.
        """
        channels, height, width = self.images.images.shape[1:]
        canvas = np.full((channels, 2 * height, 2 * width), GREY, np.uint8)
        share = 0.5 + torch.rand(2)
        x, y = round(share[0].item() * width), round(share[1].item() * height)
        others = torch.randint(len(self.images), (3,)).tolist()
        found = []
        for quarter, chosen in enumerate([index, *others]):
            image, labels = self.plain(chosen)
            top, bottom, left, right = content_edges(image)
            # The corner that touches the point: lower right, lower left, upper right, upper left.
            shift_x = x - (right, left)[quarter % 2]
            shift_y = y - (bottom, top)[quarter // 2]
            y1, y2 = max(top + shift_y, 0), min(bottom + shift_y, 2 * height)
            x1, x2 = max(left + shift_x, 0), min(right + shift_x, 2 * width)
            canvas[:, y1:y2, x1:x2] = image[
                :, y1 - shift_y : y2 - shift_y, x1 - shift_x : x2 - shift_x
            ]
            found.append(labels + np.array([shift_x, shift_y, shift_x, shift_y, 0], np.float32))
        return canvas, np.concatenate(found)

    def change(self, canvas: np.ndarray, labels: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """A canvas moved, scaled, turned and mirrored into an image of the network's size."""
        size = self.images.images.shape[2:]
        matrix = random_matrix(self.config, canvas.shape[1:], size)
        return warp(torch.from_numpy(canvas), matrix, size), move_boxes(labels, matrix, size)


def content_edges(image: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a letterboxed image ``[C, H, W]`` without its grey border.

    A border row that happens to be of exactly this grey goes as well: nothing is in it.
    """
    rows = np.flatnonzero((image != GREY).any(axis=(0, 2)))
    columns = np.flatnonzero((image != GREY).any(axis=(0, 1)))
    if len(rows) == 0:
        return 0, image.shape[1], 0, image.shape[2]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def random_matrix(
    config: AugmentConfig, source: tuple[int, ...], size: tuple[int, ...]
) -> np.ndarray:
    """A 3x3 matrix from places on a canvas to places in an image, both in pixels from the corner.

    The canvas' middle comes to the image's, moved by up to ``translate``; around it everything
    is scaled, turned, sheared, tilted and mirrored.

    Args:
        source: the canvas' ``(height, width)``.
        size: the image's.
    """
    limited = (2 * torch.rand(8, dtype=torch.float64) - 1).tolist()
    scale, degrees, shear_x, shear_y, tilt_x, tilt_y, move_x, move_y = limited
    mirror, upside_down = torch.rand(2).tolist()
    angle = math.radians(degrees * config.degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    slant = math.radians(config.shear)
    factor = 1 + scale * config.scale
    to_middle = _shift(-source[1] / 2, -source[0] / 2)
    turn = factor * np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1 / factor]])
    shear = np.array(
        [[1, math.tan(shear_x * slant), 0], [math.tan(shear_y * slant), 1, 0], [0, 0, 1]]
    )
    # ``perspective`` is how much nearer an edge of the image comes, so it is divided by half a
    # side here.
    tilt = np.eye(3)
    tilt[2, 0] = tilt_x * config.perspective / (size[1] / 2)
    tilt[2, 1] = tilt_y * config.perspective / (size[0] / 2)
    signs = [-1 if mirror < config.hflip else 1, -1 if upside_down < config.vflip else 1]
    flip = np.diag([*signs, 1])
    back = _shift(
        size[1] * (0.5 + move_x * config.translate), size[0] * (0.5 + move_y * config.translate)
    )
    return back @ flip @ tilt @ shear @ turn @ to_middle


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def warp(canvas: Tensor, matrix: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """The image uint8 ``[C, *size]`` whose place ``matrix @ p`` shows what is at ``p``.

    Bilinear; grey where nothing is.
    """
    height, width = size
    back = torch.from_numpy(np.linalg.inv(matrix)).float()
    x, y = torch.arange(width) + 0.5, (torch.arange(height) + 0.5)[:, None]
    source_x, source_y, depth = (row[0] * x + row[1] * y + row[2] for row in back)
    # grid_sample counts from -1 to 1, and fills with 0: so grey is made 0.
    grid = torch.stack(
        [
            source_x / depth * (2 / canvas.shape[2]) - 1,
            source_y / depth * (2 / canvas.shape[1]) - 1,
        ],
        dim=2,
    )
    values = canvas[None].to(torch.float32, memory_format=torch.channels_last).sub_(GREY)
    image = grid_sample(values, grid[None], mode="bilinear", align_corners=False)
    return image[0].add_(GREY).round_().clamp_(0, 255).to(torch.uint8).contiguous()


def move_boxes(labels: np.ndarray, matrix: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Labels ``[k, 5]`` under ``matrix``: the smallest upright box around each moved one, cut off.

    Those of which too little is left are dropped.
    """
    if len(labels) == 0:
        return labels
    x1, y1, x2, y2 = labels[:, :4].T
    corners = np.stack([[x1, x2, x2, x1], [y1, y1, y2, y2], np.ones((4, len(labels)))])
    moved = np.einsum("ij,jkn->ikn", matrix, corners)
    x, y = moved[:2] / moved[2]
    whole = np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)
    height, width = size
    cut = np.clip(whole, 0, (width, height, width, height))
    sides, before = cut[:, 2:] - cut[:, :2], whole[:, 2:] - whole[:, :2]
    seen = (sides >= _MIN_SIDE).all(axis=1) & (sides.prod(1) >= _MIN_SHARE * before.prod(1))
    return np.concatenate([cut, labels[:, 4:]], axis=1)[seen]
