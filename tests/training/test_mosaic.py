"""Changed images with boxes: what is drawn is still in its box, and tightly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.training.config import AugmentConfig
from edgeark.training.data.images import ImageSet, as_labels
from edgeark.training.data.mosaic import (
    AugmentedImages,
    content_edges,
    move_boxes,
    random_matrix,
    warp,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support.box_images import make_images

SIDE = 96
GREY = 114


def lone_rectangles(count: int = 8) -> ImageSet:
    """Grey images with a white rectangle each, so that what is white is what is in a box."""
    rng = np.random.default_rng(1)
    images = np.full((count, 3, SIDE, SIDE), GREY, np.uint8)
    rows = []
    for image in images:
        x1, y1 = rng.integers(4, 40, 2)
        x2, y2 = np.array([x1, y1]) + rng.integers(16, 48, 2)
        image[:, :4] = image[:, -4:] = 100  # not the grey of a border: nothing is cut off
        image[:, :, :4] = image[:, :, -4:] = 100
        image[:, y1:y2, x1:x2] = 255
        rows.append(np.array([[x1, y1, x2, y2, 0]], np.float32))
    return ImageSet("white", "train", images, as_labels(rows), ("white",))


def white_extent(image: torch.Tensor) -> tuple[float, float, float, float]:
    white = (image[0] > 185).numpy()  # half way between grey and white
    ys, xs = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    return xs[0], ys[0], xs[-1] + 1, ys[-1] + 1


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    degrees=st.sampled_from([0.0, 20.0, 180.0]),
    perspective=st.sampled_from([0.0, 0.2]),
    shear=st.sampled_from([0.0, 10.0]),
)
def test_a_box_is_tight_around_its_rectangle(
    seed: int, degrees: float, perspective: float, shear: float
) -> None:
    images = lone_rectangles(1)
    torch.manual_seed(seed)
    config = AugmentConfig(
        degrees=degrees,
        perspective=perspective,
        shear=shear,
        scale=0.3,
        translate=0.05,
        hflip=0.5,
        vflip=0.5,
    )
    # A margin all around, so that nothing is cut off and the corners are seen.
    size = (3 * SIDE, 3 * SIDE)
    matrix = random_matrix(config, (SIDE, SIDE), size)
    (box,) = move_boxes(images.labels[0], matrix, size)
    found = white_extent(warp(torch.from_numpy(images.images[0]), matrix, size))
    assert np.abs(np.array(found) - box[:4]).max() <= 2.0


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_batches_hold_what_their_boxes_say(mosaic: float) -> None:
    """Upright changes: all that is white lies in a box, and nearly all of every box is white."""
    config = AugmentConfig(scale=0.4, translate=0.1, hflip=0.5, vflip=0.5)
    changed = AugmentedImages(lone_rectangles(), config, mosaic)
    torch.manual_seed(0)
    seen = 0
    for _ in range(5):
        images, targets = changed.__getitems__(list(range(8)))
        assert images.dtype == torch.uint8 and images.shape == (8, 3, SIDE, SIDE)
        assert targets.dtype == torch.float32
        assert targets[:, 1:5].min() >= 0 and targets[:, 1:5].max() <= SIDE
        for place, image in enumerate(images):
            white = (image[0] > 185).numpy()
            outside = white.copy()
            for x1, y1, x2, y2 in targets[targets[:, 0] == place, 1:5].numpy():
                inner = white[round(y1) : round(y2), round(x1) : round(x2)]
                assert inner.size == 0 or inner.mean() > 0.7
                top, left = max(int(y1) - 1, 0), max(int(x1) - 1, 0)
                outside[top : int(y2) + 2, left : int(x2) + 2] = False
                seen += 1
            # Slivers whose box was dropped may remain at the image's edge.
            assert outside[8:-8, 8:-8].mean() < 0.02
    assert seen > (30 if mosaic == 0 else 60)


def test_without_changes_an_image_stays_itself() -> None:
    plain = make_images(4, SIDE)
    images, targets = AugmentedImages(plain, AugmentConfig(), 0.0).__getitems__([2, 0])
    assert np.array_equal(images.numpy(), plain.images[[2, 0]])
    wanted = [np.insert(plain.labels[i], 0, place, 1) for place, i in enumerate((2, 0))]
    assert np.allclose(targets.numpy(), np.concatenate(wanted), atol=1e-4)


def test_one_generator_decides_everything() -> None:
    changed = AugmentedImages(make_images(6, SIDE), AugmentConfig(scale=0.5, degrees=9), 0.5)
    torch.manual_seed(3)
    first = changed.__getitems__([0, 1, 2])
    torch.manual_seed(3)
    again = changed.__getitems__([0, 1, 2])
    other = changed.__getitems__([0, 1, 2])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_grey_borders_are_left_out_and_empty_images_stay() -> None:
    image = np.full((3, 20, 30), GREY, np.uint8)
    assert content_edges(image) == (0, 20, 0, 30)
    image[:, 4:15, 2:29] = 7
    assert content_edges(image) == (4, 15, 2, 29)


def test_images_without_boxes_make_a_batch() -> None:
    empty = ImageSet(
        *("none", "train", np.zeros((3, 3, 32, 32), np.uint8)),
        as_labels(np.zeros((0, 5), np.float32) for _ in range(3)),
        ("a",),
    )
    images, targets = AugmentedImages(empty, AugmentConfig(scale=0.2), 0.5).__getitems__([0, 1, 2])
    assert images.shape == (3, 3, 32, 32)
    assert targets.shape == (0, 6)


def test_boxes_of_which_little_is_left_are_dropped() -> None:
    matrix = np.array([[1.0, 0, -38], [0, 1, 0], [0, 0, 1]])
    labels = np.array([[0, 0, 40, 40, 1], [30, 30, 60, 60, 2]], np.float32)
    assert move_boxes(labels, matrix, (64, 64)).tolist() == [[0, 30, 22, 60, 2]]
