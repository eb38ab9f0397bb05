"""Non-maximum suppression in NumPy, against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.zoo.tasks.boxes import Boxes, areas, nms, pairwise_iou
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, box_iou

COUNT = 5000

seeds = st.integers(0, 2**32 - 1)


def make_boxes(xyxy: list, scores: list, classes: list) -> Boxes:
    return Boxes(np.array(xyxy, float).reshape(-1, 4), np.array(scores, float), np.array(classes))


@settings(max_examples=80)
@given(
    n=st.integers(0, 60),
    classes=st.integers(1, 5),
    iou=st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.75, 1.0]),
    limit=st.sampled_from([1, 3, 300]),
    seed=seeds,
)
def test_suppression_is_torchvisions_on_a_grid(
    n: int, classes: int, iou: float, limit: int, seed: int
) -> None:
    """Few values: equal scores, equal boxes, overlaps right at the limit, boxes without area."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 5, (n, 2, 2))
    xyxy = np.sort(corners, axis=1).reshape(n, 4).astype(float)
    boxes = Boxes(xyxy, rng.integers(1, 4, n) / 4, rng.integers(0, classes, n))
    tensors = (torch.from_numpy(a) for a in (xyxy, boxes.scores, boxes.classes))
    kept = batched_nms(*tensors, iou)[:limit].numpy()
    found = nms(boxes, iou, limit)
    for ours, theirs in (
        (found.xyxy, xyxy[kept]),
        (found.scores, boxes.scores[kept]),
        (found.classes, boxes.classes[kept]),
    ):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("spread", [30.0, 3000.0])
def test_suppression_of_many_candidates_is_torchvisions(spread: float) -> None:
    """In more than one chunk; some are covered whole, some hardly."""
    rng = np.random.default_rng(5)
    centres, sizes = rng.uniform(0, spread, (COUNT, 2)), rng.uniform(4, 120, (COUNT, 2))
    xyxy = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    boxes = Boxes(xyxy, rng.random(COUNT), rng.integers(0, 2, COUNT))
    tensors = (torch.from_numpy(a) for a in (xyxy, boxes.scores, boxes.classes))
    kept = batched_nms(*tensors, 0.45).numpy()
    assert np.array_equal(nms(boxes, 0.45, COUNT).scores, boxes.scores[kept])
    assert np.array_equal(nms(boxes, 0.45, 50).scores, boxes.scores[kept[:50]])


@settings(max_examples=30)
@given(n=st.integers(0, 9), m=st.integers(0, 9), seed=seeds)
def test_overlap_is_torchvisions(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (np.sort(rng.random((k, 2, 2)), axis=1).reshape(k, 4) for k in (n, m))
    wanted = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(pairwise_iou(first, second), wanted, atol=1e-12)


def test_of_equal_scores_the_first_stays() -> None:
    boxes = make_boxes([[0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11]], [0.5] * 3, [2, 2, 2])
    assert nms(boxes, 0.5).xyxy.tolist() == [[0, 0, 10, 10]]
    turned = boxes.pick(np.array([2, 1, 0]))
    assert nms(turned, 0.5).xyxy.tolist() == [[0, 1, 10, 11]]


def test_other_classes_stay() -> None:
    boxes = make_boxes([[0, 0, 9, 9]] * 3, [0.3, 0.9, 0.5], [0, 1, 0])
    found = nms(boxes, 0.5)
    assert (found.scores.tolist(), found.classes.tolist()) == ([0.9, 0.5], [1, 0])


@pytest.mark.filterwarnings("error")
def test_boxes_without_area_cover_nothing() -> None:
    boxes = make_boxes([[5, 5, 5, 5]] * 2 + [[5, 2, 5, 8]], [0.9, 0.8, 0.7], [0, 0, 0])
    assert len(nms(boxes, 0.0)) == 3
    assert areas(boxes.xyxy).tolist() == [0, 0, 0]
