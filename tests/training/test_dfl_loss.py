"""The loss of YOLOv8 and YOLO11: assignment against a slow reading of the paper, and its zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.training.dfl_loss import (
    assign,
    bin_loss,
    decode_sides,
    dfl_loss,
    loss_parts,
)
from edgeark.zoo.tasks.boxes import pairwise_iou
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

BINS = 16


def slow_assign(
    targets: np.ndarray, scores: np.ndarray, boxes: np.ndarray, centres: np.ndarray
) -> dict[tuple[int, int], tuple[int, float]]:
    """(image, place) to (box, score), box by box and cell by cell, as TOOD describes it."""
    wanted: dict[int, list[tuple[float, float, int]]] = {}  # box: (alignment, IoU, place)
    for index, (image, x1, y1, x2, y2, kind) in enumerate(targets):
        found = []
        for place, (x, y) in enumerate(centres):
            if x1 < x < x2 and y1 < y < y2:
                drawn = boxes[int(image), place]
                (iou,) = pairwise_iou(drawn[None], targets[index : index + 1, 1:5])[0]
                score = scores[int(image), place, int(kind)]
                found.append((score**0.5 * iou**6, iou, place))
        wanted[index] = sorted(found, reverse=True)[:10]
    owners: dict[tuple[int, int], tuple[float, float, int]] = {}
    for index, found in wanted.items():
        for aligned, iou, place in found:
            key = (int(targets[index, 0]), place)
            if key not in owners or iou > owners[key][0]:
                owners[key] = (iou, aligned, index)
    answer = {}
    for key, (_, aligned, index) in owners.items():
        own = [o for o in owners.values() if o[2] == index]
        answer[key] = (index, aligned / max(o[1] for o in own) * max(o[0] for o in own))
    return answer


@settings(max_examples=30)
@given(count=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
def test_cells_are_those_of_the_description(count: int, seed: int) -> None:
    cells = places()
    drawn = RandomBoxes(count, seed, cells)
    targets, boxes = drawn.targets, drawn.boxes
    scores = drawn.uniform(0.01, 1, 2, len(cells.strides), CLASSES)
    found = assign(targets, scores, boxes, cells)
    pairs = zip(found.image, found.place, found.box, found.score, strict=True)
    got = {(int(i), int(p)): (int(b), float(s)) for i, p, b, s in pairs}
    wanted = slow_assign(
        targets.numpy(), scores.numpy(), boxes.numpy(), cells.centres.double().numpy()
    )
    # Where drawn and true boxes do not meet, all cells align by 0 and any of them will do.
    assert {k: v for k, v in got.items() if v[1] > 0} == {
        k: (b, pytest.approx(s, rel=1e-9)) for k, (b, s) in wanted.items() if s > 0
    }


def test_a_cell_answers_for_one_box_alone_also_of_equal_ones() -> None:
    twice = TARGETS[[0, 0, 1]].clone()
    twice[1, 5] = 1
    cells = places()
    boxes = torch.tensor([10.0, 12, 40, 60]).expand(1, len(cells.strides), 4)
    scores = torch.full((1, len(cells.strides), CLASSES), 0.5)
    found = assign(twice, scores, boxes, cells)
    where = found.place.tolist()
    assert len(set(where)) == len(where) > 5
    assert set(found.box.tolist()) == {0, 2}


def test_a_box_smaller_than_a_cell_has_one() -> None:
    tiny = torch.tensor([[0.0, 33, 33, 34.5, 34, 1]])
    cells = places()
    boxes = tiny[:, 1:5].expand(1, len(cells.strides), 4)
    found = assign(tiny, torch.full((1, len(cells.strides), CLASSES), 0.5), boxes, cells)
    assert len(found.box) >= 1
    assert torch.equal(found.score, torch.ones(len(found.box)))


def perfect(targets: Tensor, images: int) -> list[Tensor]:
    """Raw maps that say at every cell in a box exactly that box, and nothing elsewhere."""
    outputs = []
    for stride, size in zip(STRIDES, SIZES, strict=True):
        box = torch.zeros(images, 4, BINS, size, size)
        classes = torch.full((images, CLASSES, size, size), -20.0)
        for image, x1, y1, x2, y2, kind in targets.tolist():
            for row in range(size):
                for column in range(size):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    sides = torch.tensor([x - x1, y - y1, x2 - x, y2 - y]) / stride
                    if sides.min() <= 0 or sides.max() >= BINS - 1.01:
                        continue
                    share = torch.zeros(4, BINS)
                    low = sides.floor().long()[:, None]
                    share.scatter_(1, low, 1 - (sides[:, None] - low))
                    share.scatter_(1, low + 1, sides[:, None] - low)
                    box[int(image), :, :, row, column] = (share + 1e-9).log()
                    classes[int(image), int(kind), row, column] = 20.0
        outputs += [box.flatten(1, 2), classes]
    return outputs


def test_perfect_maps_draw_the_boxes_and_have_full_marks() -> None:
    outputs = perfect(TARGETS, 2)
    parts = loss_parts(outputs, TARGETS, STRIDES)
    assert parts.box.item() < 1e-3
    assert_full_marks("yolov8n", outputs)


@pytest.mark.parametrize(("kind", "part"), [(0, "box"), (0, "bins"), (1, "classes")])
def test_each_part_sees_its_own_maps(kind: int, part: str) -> None:
    good = loss_parts(perfect(TARGETS, 2), TARGETS, STRIDES)
    outputs = perfect(TARGETS, 2)
    for output in outputs[kind::2]:
        output.copy_(output.flip(1))
    bad = loss_parts(outputs, TARGETS, STRIDES)
    assert getattr(bad, part).item() > getattr(good, part).item() + 0.1


@given(distance=st.floats(0, BINS - 1.02), seed=st.integers(0, 99))
def test_bins_are_taught_the_distance(distance: float, seed: int) -> None:
    """The loss is least where the two bins around the distance share it by nearness."""
    low = int(distance)
    share = torch.full((BINS,), 1e-9, dtype=torch.float64)
    share[low], share[low + 1] = 1 - (distance - low) + 1e-9, distance - low + 1e-9
    best = share.log().expand(1, 4, BINS).clone().requires_grad_()
    wanted = torch.full((1, 4), distance, dtype=torch.float64)
    loss = bin_loss(best, wanted)
    other = best + torch.randn(1, 4, BINS, generator=torch.Generator().manual_seed(seed))
    assert bin_loss(other, wanted).item() > loss.item() - 1e-6
    (gradient,) = torch.autograd.grad(loss.sum(), best)
    assert gradient.abs().max() < 1e-6
    cell = torch.zeros(1, 2, dtype=torch.float64)
    drawn = decode_sides(best.detach(), cell, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(
        drawn,
        torch.tensor([[-distance, -distance, distance, distance]]).double(),
        atol=1e-6,
        rtol=0,
    )


def test_gradients_are_finite_without_any_box_and_in_any_memory_order() -> None:
    assert_gradients_without_boxes_and_in_any_order(dfl_loss, (4 * BINS, CLASSES))


def test_a_box_drawn_without_height_has_a_gradient() -> None:
    outputs = [
        torch.full((1, channels, size, size), -40.0)
        for size in SIZES
        for channels in (4 * BINS, CLASSES)
    ]
    for box in outputs[::2]:
        box[:, ::BINS] = 40.0  # all sides at distance 0
    outputs = [output.requires_grad_() for output in outputs]
    assert_finite_gradient(dfl_loss, outputs)
