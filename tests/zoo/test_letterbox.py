"""Images of any shape in a network's input, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from edgeark.zoo.tasks.images import to_input
from edgeark.zoo.tasks.letterbox import GREY, Letterbox, letterbox
from hypothesis import given, settings
from hypothesis import strategies as st

sides = st.integers(1, 90)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(h=sides, w=sides, new_h=sides, new_w=sides, centred=st.booleans(), seed=seeds)
def test_a_letterbox_and_its_mapping_are_inverse(
    h: int, w: int, new_h: int, new_w: int, centred: bool, seed: int
) -> None:
    image = np.zeros((h, w), np.uint8)
    x, mapping = letterbox(image, (new_h, new_w), "gray", centred=centred)
    assert x.shape == (1, 1, new_h, new_w) and x.dtype == np.uint8
    assert mapping.image_size == (h, w)
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.uniform(0, 1, (9, 2, 2)), axis=1).reshape(9, 4) * [w, h, w, h]
    there = mapping.to_input(boxes)
    np.testing.assert_allclose(mapping.to_image(there), boxes, atol=1e-9)
    assert there.min() >= 0 and (there <= [new_w, new_h, new_w, new_h]).all()

    x1, y1, x2, y2 = mapping.to_input(np.array([0, 0, w, h])).round(6)
    rows, columns = np.nonzero(x[0, 0] != GREY)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)
    assert x2 - x1 == new_w or y2 - y1 == new_h, "the image could be larger"
    margins = (x1, new_w - x2), (y1, new_h - y2)
    for before, after in margins:
        assert after - before in (0, 1) if centred else before == 0
    across, along = mapping.scale
    assert abs(across - along) * max(h, w) <= 1 + max(h, w) / min(h, w), "stretched"


@pytest.mark.parametrize("size", [(360, 640), (640, 300), (100, 100)])
def test_an_object_is_found_where_it_was(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[40:80, 20:95] = 255
    x, mapping = letterbox(image, (160, 224))
    rows, columns = np.nonzero(x[0, 0] > 190)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    found = mapping.to_image(box)
    assert np.abs(found - [20, 40, 95, 80]).max() <= 1 / min(mapping.scale)


def test_a_image_of_the_right_size_passes_through(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    x, mapping = letterbox(image, (20, 30))
    assert np.array_equal(x, to_input(image, (20, 30), 3))
    assert mapping == Letterbox((1.0, 1.0), (0, 0), (20, 30))


def test_colours_come_in_the_networks_order(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (7, 11, 3), np.uint8)
    rgb, bgr, gray = (letterbox(image, (16, 16), c)[0] for c in ("rgb", "bgr", "gray"))
    assert np.array_equal(rgb[:, ::-1], bgr)
    assert gray.shape == (1, 1, 16, 16)
    alone = letterbox(image[..., 0], (16, 16), "bgr")[0]
    assert all(np.array_equal(alone[0, i], rgb[0, 0]) for i in range(3))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="an image is uint8"):
        letterbox(np.zeros((3, 3)), (4, 4))
