"""Pre-processing and decoding in NumPy, against torch and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.zoo.tasks.classification import top1, top_k
from edgeark.zoo.tasks.images import resize_matrix, to_input
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

side = st.integers(1, 40)


@settings(max_examples=40)
@given(h=side, w=side, new_h=side, new_w=side, seed=st.integers(0, 99))
def test_resize_is_pillows_bilinear(h: int, w: int, new_h: int, new_w: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w), np.uint8)
    ours = to_input(image, (new_h, new_w), 1)[0, 0]
    theirs = np.asarray(Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@given(old=side, new=side)
def test_resize_weights_sum_to_one(old: int, new: int) -> None:
    assert np.allclose(resize_matrix(old, new).sum(axis=1), 1)


def test_colour_becomes_luminance_and_gray_becomes_colour() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert np.all(to_input(red, (4, 4), 1) == round(200 * 0.299))
    gray = np.full((4, 4), 7, np.uint8)
    assert to_input(gray, (4, 4), 3).shape == (1, 3, 4, 4)
    assert np.array_equal(to_input(red, (4, 4), 3)[0].transpose(1, 2, 0), red)


@pytest.mark.parametrize(
    "image", [np.zeros((3, 3)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image"):
        to_input(image, (4, 4), 1)


logits = arrays(np.float32, (4, 6), elements=st.floats(-50, 50, width=32))


@settings(max_examples=40)
@given(values=logits, k=st.integers(1, 6))
def test_top_k_agrees_with_torch(values: np.ndarray, k: int) -> None:
    wanted = torch.from_numpy(values).double().softmax(1).topk(k, dim=1)
    found = top_k(values[..., None, None], list("abcdef"), k)
    scores = np.array([[p["score"] for p in best] for best in found])
    np.testing.assert_allclose(scores, wanted.values.numpy(), atol=1e-9)
    assert all(p["name"] == "abcdef"[p["index"]] for best in found for p in best)


def test_top1_counts_right_answers() -> None:
    answers = np.eye(4, dtype=np.float32)[:, :, None, None]
    assert top1(answers, np.array([0, 1, 2, 0])) == 0.75
