"""Marks of one image laid over another: where, how bright, and which not."""

from __future__ import annotations

import torch
from edgeark.training.data.augment import copy_paste
from torch import Tensor


def tile(ground: float, mark: float | None, at: slice = slice(20, 24)) -> tuple[Tensor, Tensor]:
    """One image of 64x64 and its mask; the mark is a square."""
    image, mask = torch.full((1, 64, 64), ground), torch.zeros(64, 64, dtype=torch.uint8)
    if mark is not None:
        image[0, at, at], mask[at, at] = mark, 1
    return image, mask


def batch(*tiles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    images, masks = zip(*tiles, strict=True)
    return torch.stack(images), torch.stack(masks)


def test_a_mark_is_as_much_darker_than_its_new_ground() -> None:
    images, masks = batch(tile(100, 40), tile(180, None))
    pasted, marks = copy_paste(images, masks, 1.0)
    assert torch.equal(marks[1], masks[0]) and marks.dtype == torch.uint8
    inside = pasted[1, 0, 21:23, 21:23]
    torch.testing.assert_close(inside, torch.full_like(inside, 120.0))
    assert torch.equal(pasted[1, 0, 32:], images[1, 0, 32:])
    border = pasted[1, 0, 21, 14:20]
    torch.testing.assert_close(border, torch.full_like(border, 180.0), atol=1e-3, rtol=0)
    assert torch.equal(pasted[0], images[0])  # its neighbour had no mark


def test_a_image_keeps_its_own_mark() -> None:
    images, masks = batch(tile(100, 40), tile(100, 40, slice(40, 44)))
    marks = copy_paste(images, masks, 1.0)[1]
    assert torch.equal(marks, masks[:1] | masks[1:] | torch.zeros_like(masks))


def test_large_marks_and_those_at_an_edge_stay() -> None:
    for at in (slice(0, 4), slice(10, 40), slice(60, 64)):
        images, masks = batch(tile(100, 40, at), tile(180, None))
        pasted, marks = copy_paste(images, masks, 1.0)
        assert torch.equal(pasted, images) and torch.equal(marks, masks)


def test_the_share_is_kept() -> None:
    torch.manual_seed(0)
    images, masks = batch(*[tile(100, 40), tile(180, None)] * 100)
    assert torch.equal(copy_paste(images, masks, 0.0)[0], images)
    changed = (copy_paste(images, masks, 0.3)[1] != masks).any((1, 2))
    assert 15 < changed.sum() < 45
    assert not changed[0::2].any()
