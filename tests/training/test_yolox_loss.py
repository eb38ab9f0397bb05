"""YOLOX's loss: SimOTA by hand and against a slow reading of the papers, and its zeros."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from edgeark.training.cells import Places
from edgeark.training.yolox_loss import assign, decode_boxes, loss_parts, yolox_loss
from edgeark.zoo.tasks.boxes import pairwise_iou
from edgeark.zoo.tasks.detection import decode_yolox, sigmoid
from hypothesis import given, settings
from hypothesis import strategies as st
from support.detector_losses import (
    CLASSES,
    SIZES,
    STRIDES,
    TARGETS,
    RandomBoxes,
    assert_finite_gradient,
    assert_full_marks,
    assert_gradients_without_boxes_and_in_any_order,
    places,
)
from torch import Tensor


def slow_assign(
    targets: np.ndarray,
    boxes: np.ndarray,
    objectness: np.ndarray,
    classes: np.ndarray,
    cells: Places,
) -> dict[tuple[int, int], tuple[int, float]]:
    """(image, place) to (box, IoU), box by box and cell by cell, as the papers describe it."""
    bids: dict[tuple[int, int], list[tuple[float, int, float]]] = {}  # cell: (cost, box, IoU)
    for index, (image, x1, y1, x2, y2, kind) in enumerate(targets):
        found = []
        for place, ((x, y), stride) in enumerate(
            zip(cells.centres.tolist(), cells.strides.tolist(), strict=True)
        ):
            if max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) >= 2.5 * stride:
                continue
            drawn = boxes[int(image), place]
            (iou,) = pairwise_iou(drawn[None], targets[index : index + 1, 1:5])[0]
            share = sigmoid(objectness[int(image), place, 0])
            score = np.sqrt(share * sigmoid(classes[int(image), place]))
            right = np.arange(CLASSES) == kind
            cost = -np.log(np.where(right, score, 1 - score)).sum() - 3 * math.log(max(iou, 1e-8))
            found.append((cost, place, iou))
        count = max(1, int(sum(sorted((iou for *_, iou in found), reverse=True)[:10])))
        for cost, place, iou in sorted(found)[:count]:
            bids.setdefault((int(image), place), []).append((cost, index, iou))
    return {cell: min(found)[1:] for cell, found in bids.items()}


@settings(max_examples=30)
@given(count=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
def test_cells_are_those_of_the_papers(count: int, seed: int) -> None:
    cells = places()
    drawn = RandomBoxes(count, seed, cells)
    targets, boxes = drawn.targets, drawn.boxes
    objectness = drawn.uniform(-4, 4, 2, len(cells.strides), 1)
    classes = drawn.uniform(-4, 4, 2, len(cells.strides), CLASSES)
    found = assign(targets, boxes, objectness, classes, cells)
    pairs = zip(found.image, found.place, found.box, found.overlap, strict=True)
    got = {(int(i), int(p)): (int(b), float(o)) for i, p, b, o in pairs}
    wanted = slow_assign(*(t.numpy() for t in (targets, boxes, objectness, classes)), cells)
    assert len(got) == len(found.box)
    assert got == {k: (b, pytest.approx(o, rel=1e-9)) for k, (b, o) in wanted.items()}


def hand_case(*overlaps: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Places]:
    """One box of 8x8 in the middle of a map of 5x5 cells; the first answers overlap it so much.

    An answer of ``share`` is the box's left part, so its IoU is ``share``; all others miss the box.
    All scores are equal.
    """
    cells = places((5,), (8,))
    targets = torch.tensor([[0.0, 16, 16, 24, 24, 0]])
    boxes = torch.tensor([100.0, 100, 108, 108]).repeat(1, 25, 1)
    for place, share in enumerate(overlaps):
        boxes[0, place] = torch.tensor([16, 16, 16 + 8 * share, 24])
    return targets, boxes, torch.zeros(1, 25, 1), torch.zeros(1, 25, CLASSES), cells


@pytest.mark.parametrize(
    ("overlaps", "chosen"),
    [
        ((0.5, 0.9, 0.75), [1, 2]),  # 2.15: two cells, the best ones
        ((0.25, 0.5), [1]),  # 0.75: one at least
        ((1.0, 1.0, 1.0), [0, 1, 2]),
        ((1.0,) * 12, list(range(10))),  # ten overlaps count
    ],
)
def test_the_sum_of_the_overlaps_is_how_many_cells_answer(
    overlaps: tuple[float, ...], chosen: list[int]
) -> None:
    found = assign(*hand_case(*overlaps))
    assert len(found.place) == len(chosen)
    if len(overlaps) <= 10:  # of twelve equal ones any ten
        assert sorted(found.place.tolist()) == chosen
    wanted = torch.tensor([overlaps[place] for place in found.place.tolist()])
    torch.testing.assert_close(found.overlap, wanted)


def test_a_better_class_outweighs_some_overlap_and_not_much() -> None:
    targets, boxes, objectness, classes, cells = hand_case(0.8, 0.7)
    classes[0, 1, 0] = 4.0  # sqrt(0.5 * 0.982) for sqrt(0.5 * 0.5): 0.34 less; 3 ln(8 / 7) = 0.40
    assert assign(targets, boxes, objectness, classes, cells).place.tolist() == [0]
    boxes[0, 1, 2] = 16 + 8 * 0.75  # 3 ln(8 / 7.5) = 0.19
    assert assign(targets, boxes, objectness, classes, cells).place.tolist() == [1]


def test_a_cell_far_from_the_centre_never_answers() -> None:
    """However well it draws the box: five by five cells of a map are asked."""
    cells = places((16,), (8,))
    target = torch.tensor([[0.0, 60, 60, 68, 68, 1]])
    boxes = target[:, 1:5].expand(1, 256, 4)
    found = assign(target, boxes, torch.zeros(1, 256, 1), torch.zeros(1, 256, CLASSES), cells)
    away = (cells.centres[found.place] - 64).abs().amax(1)
    assert len(found.place) == 10 and float(away.max()) < 20


def test_a_cell_answers_for_one_box_alone_also_of_equal_ones() -> None:
    twice = TARGETS[[0, 0]]
    cells = places()
    count = len(cells.strides)
    boxes = torch.tensor([10.0, 12, 40, 60]).expand(1, count, 4)
    zeros = torch.zeros(1, count, 1), torch.zeros(1, count, CLASSES)
    found = assign(twice, boxes, *zeros, cells)
    where = found.place.tolist()
    assert len(set(where)) == len(where) == 10
    assert set(found.box.tolist()) == {0}


def perfect(targets: Tensor, images: int) -> list[Tensor]:
    """Raw maps that say around every box's centre exactly that box, and nothing elsewhere."""
    outputs = []
    for stride, size in zip(STRIDES, SIZES, strict=True):
        box = torch.zeros(images, 4, size, size)
        objectness = torch.full((images, 1, size, size), -20.0)
        classes = torch.full((images, CLASSES, size, size), -20.0)
        for image, x1, y1, x2, y2, kind in targets.tolist():
            x, y = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
            reach = 2.5 if stride == 8 else 0.5
            for row in range(size):
                for column in range(size):
                    if max(abs(column + 0.5 - x), abs(row + 0.5 - y)) >= reach:
                        continue
                    sides = math.log((x2 - x1) / stride), math.log((y2 - y1) / stride)
                    box[int(image), :, row, column] = torch.tensor([x - column, y - row, *sides])
                    objectness[int(image), :, row, column] = 20.0
                    classes[int(image), int(kind), row, column] = 20.0
        outputs += [box, objectness, classes]
    return outputs


def test_boxes_are_decoded_as_the_decoder_does() -> None:
    torch.manual_seed(0)
    boxes = [torch.randn(1, 4, size, size) for size in SIZES]
    rows = torch.cat([box.flatten(2) for box in boxes], 2).transpose(1, 2)
    outputs = [
        part
        for box, size in zip(boxes, SIZES, strict=True)
        for part in (box, torch.ones(1, 1, size, size), torch.ones(1, 1, size, size))
    ]
    (wanted,) = decode_yolox([output.numpy() for output in outputs], STRIDES, 0.1)
    drawn = decode_boxes(rows, places())[0]
    torch.testing.assert_close(drawn, torch.from_numpy(wanted.xyxy), atol=1e-4, rtol=1e-5)


def test_perfect_maps_draw_the_boxes_and_have_full_marks() -> None:
    outputs = perfect(TARGETS, 2)
    parts = loss_parts(outputs, TARGETS, STRIDES)
    assert parts.box.item() < 1e-3 and parts.classes.item() < 1e-3
    assert_full_marks("yolox_nano", outputs)


@pytest.mark.parametrize(("kind", "part"), [(0, "box"), (1, "objectness"), (2, "classes")])
def test_each_part_sees_its_own_maps(kind: int, part: str) -> None:
    good = loss_parts(perfect(TARGETS, 2), TARGETS, STRIDES)
    outputs = perfect(TARGETS, 2)
    for output in outputs[kind::3]:
        output.copy_(-output if kind == 1 else output.roll(1, 1))
    bad = loss_parts(outputs, TARGETS, STRIDES)
    assert getattr(bad, part).item() > getattr(good, part).item() + 0.1


def test_gradients_are_finite_without_any_box_and_in_any_memory_order() -> None:
    assert_gradients_without_boxes_and_in_any_order(yolox_loss, (4, 1, CLASSES))


@pytest.mark.parametrize("raw", [-200.0, 200.0], ids=["no area", "wider than any image"])
def test_a_box_of_any_raw_size_has_a_finite_gradient(raw: float) -> None:
    outputs = [
        torch.full((1, channels, size, size), raw if channels == 4 else 0.0, requires_grad=True)
        for size in SIZES
        for channels in (4, 1, CLASSES)
    ]
    assert_finite_gradient(yolox_loss, outputs)
