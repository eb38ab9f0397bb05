"""Images with known boxes: filled rectangles and discs on noise."""

from __future__ import annotations

import numpy as np
from edgeark.training.data.images import ImageSet, as_labels

CLASSES = ("rectangle", "disc")
_COLORS = np.array([[230, 60, 40], [40, 90, 230]], np.uint8)


def draw(image: np.ndarray, box: tuple[int, int, int, int], kind: int) -> None:
    """Fill a rectangle (0), or the ellipse in it (1), into uint8 ``[3, H, W]``."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[y1:y2, x1:x2] + 0.5
    across, down = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    inside = np.ones_like(x, bool) if kind == 0 else across**2 + down**2 <= 1
    image[:, y1:y2, x1:x2][:, inside] = _COLORS[kind][:, None]


def make_images(count: int, side: int, seed: int = 0, split: str = "train") -> ImageSet:
    """One to three objects an image, in different quarters so that none hides another."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 150, (count, 3, side, side), dtype=np.uint8)
    labels = []
    for image in images:
        rows = []
        for quarter in rng.permutation(4)[: rng.integers(1, 4)]:
            width, height = rng.integers(side // 5, side // 2 - 2, 2)
            left = (quarter % 2) * (side // 2) + rng.integers(0, side // 2 - width)
            top = (quarter // 2) * (side // 2) + rng.integers(0, side // 2 - height)
            kind = int(rng.integers(2))
            draw(image, (left, top, left + width, top + height), kind)
            rows.append([left, top, left + width, top + height, kind])
        labels.append(np.array(rows, np.float32))
    return ImageSet("shapes", split, images, as_labels(labels), CLASSES)
