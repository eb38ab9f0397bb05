"""YOLOv5's loss: matching against a slow reading of its description, and its zeros."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeark.training.anchors import best_possible_recall, choose_anchors, fit_anchors
from edgeark.training.metrics import box_scores, mean_average_precision
from edgeark.training.yolo_loss import elementwise_iou, loss_parts, match_boxes, yolo_loss
from edgeark.zoo import model_entry
from edgeark.zoo.tasks.boxes import Boxes, pairwise_iou
from edgeark.zoo.yolov5 import COCO_ANCHORS
from hypothesis import given, settings
from hypothesis import strategies as st

STRIDES, SIDE = (8, 16, 32), 128
ANCHORS = torch.tensor(COCO_ANCHORS, dtype=torch.float32)


def slow_match(
    targets: list[list[float]], anchors: list[list[float]], stride: int, size: int
) -> list[tuple[int, int, int, int, int]]:
    """(image, anchor, row, column, box): every cell is asked whether it answers."""
    found = []
    for box, (image, x1, y1, x2, y2, _) in enumerate(targets):
        x, y = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
        for anchor, (width, height) in enumerate(anchors):
            ratios = (x2 - x1) / width, (y2 - y1) / height
            if max(max(r, 1 / r) for r in ratios) >= 4:
                continue
            for row in range(size):
                for column in range(size):
                    # The centre seen from the cell's upper left corner; the middle is 0.5.
                    dx, dy = x - column, y - row
                    own = 0 <= dx < 1 and 0 <= dy < 1
                    beside = 0 <= dy < 1 and (-0.5 <= dx < 0 or 1 <= dx < 1.5)
                    above = 0 <= dx < 1 and (-0.5 <= dy < 0 or 1 <= dy < 1.5)
                    if own or beside or above:
                        found.append((int(image), anchor, row, column, box))
    return sorted(found)


@st.composite
def boxes(draw: st.DrawFn, count: int = 4) -> list[list[float]]:
    """Targets in sixteenths of a pixel, so that halves of cells are hit exactly."""
    rows = []
    for _ in range(draw(st.integers(0, count))):
        x1, y1 = (draw(st.integers(0, 16 * (SIDE - 2))) / 16 for _ in range(2))
        x2, y2 = (draw(st.integers(int(16 * low) + 16, 16 * SIDE)) / 16 for low in (x1, y1))
        rows.append(
            [float(draw(st.integers(0, 1))), x1, y1, x2, y2, float(draw(st.integers(0, 2)))]
        )
    return rows


@settings(max_examples=60)
@given(rows=boxes(), scale=st.integers(0, 2))
def test_matches_are_those_of_the_description(rows: list[list[float]], scale: int) -> None:
    stride, size = STRIDES[scale], SIDE // STRIDES[scale]
    targets = torch.tensor(rows).reshape(-1, 6)
    match = match_boxes(targets, ANCHORS[scale], stride, (size, size))
    lookup = {tuple(target[1:5]): index for index, target in enumerate(rows)}
    found = zip(match.image, match.anchor, match.row, match.column, match.boxes, strict=True)
    got = sorted((*(int(v) for v in f[:4]), lookup[tuple(f[4].tolist())]) for f in found)
    wanted = slow_match(rows, ANCHORS[scale].tolist(), stride, size)
    # Equal boxes of one batch cannot be told apart: the last one's number stands for all.
    wanted = sorted((*place, lookup[tuple(rows[box][1:5])]) for *place, box in wanted)
    assert got == wanted


def perfect(targets: torch.Tensor, classes: int, images: int) -> list[torch.Tensor]:
    """Raw maps that say at every matched place exactly the box, and nothing elsewhere."""
    outputs = []
    for stride, anchors in zip(STRIDES, ANCHORS, strict=True):
        size = SIDE // stride
        raw = torch.full((images, 3, 5 + classes, size, size), -20.0)
        match = match_boxes(targets, anchors, stride, (size, size))
        centre = (match.boxes[:, :2] + match.boxes[:, 2:]) / 2 / stride
        cell = torch.stack([match.column, match.row], 1)
        sides = match.boxes[:, 2:] - match.boxes[:, :2]
        xy = ((centre - cell + 0.5) / 2).logit(1e-6)
        wh = ((sides / anchors[match.anchor]).sqrt() / 2).logit(1e-6)
        where = (match.image, match.anchor, slice(None), match.row, match.column)
        right = torch.full((len(cell), classes), -20.0)
        right[torch.arange(len(cell)), match.classes] = 20.0
        raw[where] = torch.cat([xy, wh, torch.full((len(cell), 1), 20.0), right], 1)
        outputs.append(raw.flatten(1, 2))
    return outputs


TARGETS = torch.tensor(
    [
        [0, 10, 12, 40, 60, 0],
        [0, 70.5, 64, 110, 100, 2],
        [1, 3, 80, 23, 100, 1],
        [1, 40, 8, 120, 70, 2],
    ]
)


def labels_of(targets: torch.Tensor, images: int) -> list[np.ndarray]:
    return [targets[targets[:, 0] == i][:, 1:].numpy() for i in range(images)]


def test_perfect_maps_have_no_loss_and_full_marks() -> None:
    outputs = perfect(TARGETS, 3, 2)
    parts = loss_parts(outputs, TARGETS, ANCHORS, STRIDES)
    assert max(parts.box.item(), parts.objectness.item(), parts.classes.item()) < 1e-3
    spec = replace(model_entry("yolov5n").spec, input_size=(SIDE, SIDE), classes=("a", "b", "c"))
    figures = mean_average_precision(
        spec, [output.numpy() for output in outputs], labels_of(TARGETS, 2)
    )
    assert figures["map50"] == pytest.approx(1.0, abs=1e-6)
    assert figures["map50_95"] == pytest.approx(1.0, abs=1e-6)
    assert set(figures) == {"map50", "map50_95", "map50 a", "map50 b", "map50 c"}


@pytest.mark.parametrize(("channel", "part"), [(0, "box"), (4, "objectness"), (5, "classes")])
def test_each_part_sees_its_own_channels(channel: int, part: str) -> None:
    outputs = perfect(TARGETS, 3, 2)
    good = loss_parts(outputs, TARGETS, ANCHORS, STRIDES)
    for output in outputs:
        output.view(2, 3, 8, *output.shape[2:])[:, :, channel] *= -1
    bad = loss_parts(outputs, TARGETS, ANCHORS, STRIDES)
    assert getattr(bad, part).item() > getattr(good, part).item() + 0.1


def test_gradients_are_finite_without_any_box_and_in_any_memory_order() -> None:
    torch.manual_seed(0)
    for targets in (TARGETS, TARGETS[:0]):
        outputs = [
            torch.randn(2, 24, SIDE // s, SIDE // s)
            .to(memory_format=torch.channels_last)
            .requires_grad_()
            for s in STRIDES
        ]
        loss = yolo_loss(outputs, targets, ANCHORS, STRIDES, (SIDE, SIDE))
        plain = [output.detach().contiguous() for output in outputs]
        torch.testing.assert_close(
            loss.detach(), yolo_loss(plain, targets, ANCHORS, STRIDES, (SIDE, SIDE))
        )
        loss.backward()
        gradients = [output.grad for output in outputs]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)


def test_a_box_without_height_has_a_gradient() -> None:
    """w / h and its slope are infinite there, while the loss is not."""
    targets = torch.tensor([[0.0, 8, 8, 40, 40, 1]])
    outputs = [torch.full((1, 24, SIDE // s, SIDE // s), -40.0) for s in STRIDES]
    outputs = [output.requires_grad_() for output in outputs]
    loss = yolo_loss(outputs, targets, ANCHORS, STRIDES, (SIDE, SIDE))
    loss.backward()
    assert torch.isfinite(loss)
    for output in outputs:
        assert output.grad is not None and torch.isfinite(output.grad).all()


def test_one_class_needs_no_class_loss() -> None:
    targets = TARGETS.clone()
    targets[:, 5] = 0
    outputs = [output[:] for output in perfect(targets, 1, 2)]
    changed = [output.clone() for output in outputs]
    for output in changed:
        output.view(2, 3, 6, *output.shape[2:])[:, :, 5] = 0.0
    losses = [yolo_loss(o, targets, ANCHORS, STRIDES, (SIDE, SIDE)) for o in (outputs, changed)]
    assert losses[0] == losses[1]


@given(rows=boxes(count=6))
def test_pairs_overlap_as_in_the_decoder(rows: list[list[float]]) -> None:
    boxes_ = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)[:, 1:5]
    flipped = boxes_.flip(0)
    wanted = pairwise_iou(boxes_.numpy(), flipped.numpy()).diagonal()
    assert np.allclose(elementwise_iou(boxes_, flipped).numpy(), wanted)


def test_anchors_that_fit_stay_and_others_are_fitted() -> None:
    rng = np.random.default_rng(0)
    sides = np.exp(rng.normal(math.log(40), 0.3, (300, 2)))
    corners = rng.uniform(0, 50, (300, 2))
    labels = [np.concatenate([corners, corners + sides, np.zeros((300, 1))], 1)]
    assert choose_anchors(labels, COCO_ANCHORS) == COCO_ANCHORS
    tiny = [np.concatenate([corners, corners + sides / 30, np.zeros((300, 1))], 1)]
    fitted = choose_anchors(tiny, COCO_ANCHORS)
    assert best_possible_recall(sides / 30, COCO_ANCHORS) < 0.98
    assert best_possible_recall(sides / 30, fitted) > 0.99
    areas = [w * h for scale in fitted for w, h in scale]
    assert np.shape(fitted) == (3, 3, 2)
    assert areas[0] < areas[-1]


def test_few_boxes_and_none_have_anchors_too() -> None:
    assert choose_anchors([np.zeros((0, 5))], COCO_ANCHORS) == COCO_ANCHORS
    anchors = fit_anchors(np.array([[2.0, 3.0], [2.0, 3.0], [500.0, 600.0]]), 3, 3)
    assert np.shape(anchors) == (3, 3, 2)
    assert {pair for scale in anchors for pair in scale} == {(2.0, 3.0), (500.0, 600.0)}


def test_the_metric_knows_misses_false_alarms_and_absent_classes() -> None:
    labels = [np.array([[10, 10, 50, 50, 0], [60, 60, 90, 90, 2]], np.float32), np.zeros((0, 5))]
    none = Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    right = Boxes(labels[0][:, :4], np.array([0.9, 0.8]), np.array([0, 2]))
    alarm = Boxes(np.array([[5.0, 5, 20, 20]]), np.array([0.99]), np.array([0]))
    absent = Boxes(np.array([[5.0, 5, 20, 20]]), np.array([0.99]), np.array([1]))
    names = ("a", "b", "c")
    assert box_scores([none, none], labels, names)["map50"] == 0
    assert box_scores([right, none], labels, names)["map50"] == pytest.approx(1)
    assert box_scores([right, alarm], labels, names)["map50 a"] == pytest.approx(0.5)
    assert box_scores([right, absent], labels, names)["map50"] == pytest.approx(1)
    half = Boxes(labels[0][:1, :4], np.array([0.9]), np.array([0]))
    assert box_scores([half, none], labels, names)["map50"] == pytest.approx(0.5)
    shifted = Boxes(right.xyxy + np.array([0, 0, 8, 0]), right.scores, right.classes)
    figures = box_scores([shifted, none], labels, names)
    assert figures["map50"] == pytest.approx(1)
    assert 0 < figures["map50_95"] < 1
    assert box_scores([none], [np.zeros((0, 5))], names) == {"map50": 0.0, "map50_95": 0.0}
