"""Masks, overlays and their metrics in NumPy, against torch, torchmetrics and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.zoo.tasks.segmentation import (
    dice,
    false_positive_rate,
    foreground_dice,
    iou,
    overlay,
    resize_logits,
    to_mask,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.segmentation import dice_score, mean_iou

SEEDS = st.integers(0, 2**16)


def masks(seed: int, classes: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two stacks of small masks; with few pixels, that classes are often missing."""
    rng = np.random.default_rng(seed)
    shape = (count, *rng.integers(1, 5, 2))
    values = max(classes, 2)
    return (
        rng.integers(0, values, shape, np.uint8),
        rng.integers(0, rng.integers(1, values + 1), shape, np.uint8),
    )


@settings(max_examples=40)
@given(seed=SEEDS, threshold=st.floats(0.01, 0.99))
def test_one_class_is_a_probability_over_the_threshold(seed: int, threshold: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (2, 1, 5, 7))
    wanted = torch.from_numpy(logits).sigmoid()[:, 0].numpy() > threshold
    found = to_mask(logits, threshold)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


def test_the_edge_belongs_to_the_background() -> None:
    assert to_mask(np.array([-1e-6, 0.0, 1e-6]).reshape(1, 1, 1, 3)).tolist() == [[[0, 0, 1]]]


def test_several_classes_are_the_largest_logit() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    wanted = torch.from_numpy(logits).argmax(1).numpy()
    assert np.array_equal(to_mask(logits), wanted)
    assert np.array_equal(to_mask(logits, 0.99), wanted), "no threshold among several classes"


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1, 2])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"inside 0\.\.1"):
        to_mask(np.zeros((1, 1, 2, 2)), threshold)


def test_logits_have_four_dimensions() -> None:
    with pytest.raises(ValueError, match=r"\[N, classes, h, w\], got \(2, 2\)"):
        to_mask(np.zeros((2, 2)))


@settings(max_examples=40)
@given(seed=SEEDS, height=st.integers(1, 40), width=st.integers(2, 40))
def test_logits_are_resized_as_in_torch(seed: int, height: int, width: int) -> None:
    """From two columns on: torch 2.15 gives wrong rows to an image of one."""
    logits = np.random.default_rng(seed).normal(size=(2, 3, 8, 12)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(logits), size=(height, width), mode="bilinear", antialias=True
    )
    found = resize_logits(logits, (height, width))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_a_resized_mask_has_the_images_size() -> None:
    logits = np.full((1, 1, 4, 4), -1.0, np.float32)
    logits[..., 1:3, 1:3] = 1.0
    mask = to_mask(resize_logits(logits, (40, 60)))[0]
    assert mask.shape == (40, 60)
    assert np.array_equal(mask, mask[::-1, ::-1])
    assert mask[20, 30] == 1
    assert mask[0].sum() == 0


def test_an_overlay_paints_the_values_it_is_given() -> None:
    image = np.full((2, 3), 100, np.uint8)
    mask = np.array([[0, 1, 2], [0, 0, 3]], np.uint8)
    painted = overlay(image, mask, {1: (255, 0, 0), 2: (0, 0, 200)}, opacity=0.25)
    gray, red, blue = [100, 100, 100], [139, 75, 75], [75, 75, 125]
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[gray, red, blue], [gray, gray, gray]]
    assert image.tolist() == [[100] * 3] * 2, "the image is left as it was"


def test_an_overlay_keeps_colour_and_hides_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    mask = np.ones((4, 5), np.uint8)
    assert np.array_equal(overlay(image, mask, {1: (9, 8, 7)}, opacity=0), image)
    assert np.all(overlay(image, mask, {1: (9, 8, 7)}, opacity=1) == (9, 8, 7))
    with pytest.raises(ValueError, match=r"the image is \(4, 5\), the mask \(5, 4\)"):
        overlay(image, mask.T, {})


def test_scores_are_those_of_a_count_by_hand() -> None:
    found = np.array([[[1, 1, 1, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]])
    wanted = np.array([[[0, 1, 1, 1]], [[0, 0, 0, 0]], [[1, 1, 1, 1]], [[0, 0, 0, 0]]])
    # Two of three and three; empty twice is right; missed; a false alarm.
    np.testing.assert_allclose(dice(found, wanted, 1), [[4 / 6], [1], [0], [0]])
    np.testing.assert_allclose(iou(found, wanted, 1), [[2 / 4], [1], [0], [0]])


@settings(max_examples=60)
@given(seed=SEEDS, classes=st.integers(2, 4))
def test_scores_are_torchmetrics_where_a_class_is_there(seed: int, classes: int) -> None:
    """On a class that is in neither mask they differ: torchmetrics says NaN or -1, we say 1."""
    found, wanted = masks(seed, classes)
    tensors = [torch.from_numpy(m).long() for m in (found, wanted)]
    there = np.array(
        [
            [(f == k).any() or (w == k).any() for k in range(classes)]
            for f, w in zip(found, wanted, strict=True)
        ]
    )
    for ours, theirs in (
        (dice, dice_score(*tensors, classes, average="none", input_format="index")),
        (iou, mean_iou(*tensors, classes, per_class=True, input_format="index")),
    ):
        scores = ours(found, wanted, classes)
        np.testing.assert_allclose(scores[there], theirs.numpy()[there], atol=1e-6)
        assert np.all(scores[~there] == 1)


@settings(max_examples=60)
@given(seed=SEEDS, classes=st.integers(1, 4))
def test_scores_obey_their_laws(seed: int, classes: int) -> None:
    found, wanted = masks(seed, classes, count=3)
    d, i = dice(found, wanted, classes), iou(found, wanted, classes)
    assert d.shape == i.shape == (3, classes)
    assert np.all((d >= 0) & (d <= 1) & (i <= d + 1e-12))
    np.testing.assert_allclose(d, 2 * i / (1 + i))
    assert np.array_equal(d, dice(wanted, found, classes))
    assert np.all(dice(wanted, wanted, classes) == 1)


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        dice(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)), 1)


@settings(max_examples=60)
@given(seed=SEEDS, classes=st.integers(1, 4))
def test_the_metric_is_of_marked_images_and_of_classes_that_are_there(
    seed: int, classes: int
) -> None:
    found, wanted = masks(seed, classes, count=5)
    every = dice(found, wanted, classes)[:, -max(classes - 1, 1) :]
    values = range(1, max(classes, 2))
    there = np.stack([((found == k) | (wanted == k)).any(axis=(1, 2)) for k in values], axis=1)
    by_hand = [
        scores[here].mean()
        for scores, here, mask in zip(every, there, wanted, strict=True)
        if mask.any()
    ]
    np.testing.assert_allclose(foreground_dice(found, wanted, classes), by_hand)
    assert np.all(foreground_dice(wanted, wanted, classes) == 1)


def test_false_alarms_count_clean_images_alone() -> None:
    wanted = np.zeros((4, 2, 2), np.uint8)
    wanted[0, 0, 0] = 1
    found = np.zeros_like(wanted)
    found[:2, 1, 1] = 1  # beside the defect, which is no alarm, and in one of three clean images
    assert false_positive_rate(found, wanted) == pytest.approx(1 / 3)
    assert false_positive_rate(found[:1], wanted[:1]) == 0, "no image is clean"
