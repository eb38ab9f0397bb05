"""Boxes on small maps, and what must hold of every detector's loss on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeark.training.cells import Places
from edgeark.training.metrics import mean_average_precision
from edgeark.zoo import model_entry
from torch import Tensor

STRIDES, SIDE, CLASSES = (8, 16, 32), 128, 3
SIZES = tuple(SIDE // stride for stride in STRIDES)
TARGETS = torch.tensor(
    [
        [0, 10, 12, 40, 60, 0],
        [0, 70.5, 64, 110, 100, 2],
        [1, 3, 80, 23, 100, 1],
        [1, 40, 8, 120, 70, 2],
    ]
)
Loss = Callable[[Sequence[Tensor], Tensor, Sequence[int]], Tensor]


def places(sizes: tuple[int, ...] = SIZES, strides: tuple[int, ...] = STRIDES) -> Places:
    return Places.of([torch.zeros(1, CLASSES, size, size) for size in sizes], strides)


class RandomBoxes:
    """True boxes, and one that each cell of two images draws; in float64.

    ``uniform`` draws more of the same generator.
    """

    def __init__(self, count: int, seed: int, cells: Places) -> None:
        self.generator = generator = torch.Generator().manual_seed(seed)
        corners = self.uniform(0, SIDE - 40, count, 2)
        facts = [torch.randint(0, top, (count, 1), generator=generator) for top in (2, CLASSES)]
        sides = self.uniform(12, 40, count, 2)
        self.targets = torch.cat([facts[0], corners, corners + sides, facts[1]], 1)
        middle = cells.centres + self.uniform(-10, 10, 2, len(cells.strides), 2)
        half = self.uniform(4, 20, 2, len(cells.strides), 2)
        self.boxes = torch.cat([middle - half, middle + half], 2)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        share = torch.rand(*shape, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * share


def labels_of(targets: Tensor, images: int) -> list[np.ndarray]:
    return [targets[targets[:, 0] == i][:, 1:].numpy() for i in range(images)]


def assert_full_marks(model: str, outputs: Sequence[Tensor]) -> None:
    """Raw maps that say ``TARGETS`` have the best mAP there is."""
    spec = replace(model_entry(model).spec, input_size=(SIDE, SIDE), classes=("a", "b", "c"))
    figures = mean_average_precision(spec, [o.numpy() for o in outputs], labels_of(TARGETS, 2))
    assert figures["map50"] == pytest.approx(1.0, abs=1e-6)
    assert figures["map50_95"] == pytest.approx(1.0, abs=1e-6)


def assert_gradients_without_boxes_and_in_any_order(loss: Loss, channels: Sequence[int]) -> None:
    """``channels`` are those of a stride's maps; the second learns from every image."""
    torch.manual_seed(0)
    for targets in (TARGETS, TARGETS[:0]):
        outputs = [
            torch.randn(2, count, size, size).to(memory_format=torch.channels_last).requires_grad_()
            for size in SIZES
            for count in channels
        ]
        value = loss(outputs, targets, STRIDES)
        plain = [output.detach().contiguous() for output in outputs]
        torch.testing.assert_close(value.detach(), loss(plain, targets, STRIDES))
        value.backward()
        gradients = [output.grad for output in outputs]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
        assert all(bool(g.any()) for g in gradients[1 :: len(channels)] if g is not None)


def assert_finite_gradient(loss: Loss, outputs: Sequence[Tensor]) -> None:
    """Of one box; ``outputs`` are leaves."""
    value = loss(outputs, torch.tensor([[0.0, 8, 8, 40, 40, 1]]), STRIDES)
    value.backward()
    assert torch.isfinite(value)
    for output in outputs:
        assert output.grad is not None and torch.isfinite(output.grad).all()
