"""Where an answer differs from PyTorch's, in a report."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from edgeark.export.tasks.differences import ALONE, MISSED, OTHER, box_difference, mask_difference
from edgeark.zoo.tasks.boxes import Boxes
from PIL import Image

GRAY = np.full((1, 64, 64), 100, np.uint8)


def colors_of(uri: str) -> np.ndarray:
    """The drawn image ``[h, w]`` in names of its colours; JPEG moves them a little."""
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    known = {"same": (193,) * 3, "alone": ALONE, "missed": MISSED, "other": OTHER}
    away = [np.abs(pixels - np.array(color)).sum(axis=2) for color in known.values()]
    return np.array(list(known))[np.argmin(away, axis=0)]


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_masks_pixels_are_told_apart(color: str) -> None:
    wanted, found = np.zeros((2, 64, 64), np.uint8)
    wanted[:32, :32], found[:32, :32] = 1, 1
    found[:32, 32:], wanted[32:, :32] = 2, 1
    found[32:, 32:], wanted[32:, 32:] = 1, 2
    pixels = GRAY if color == "gray" else np.repeat(GRAY, 3, axis=0)
    answer = mask_difference(pixels, color, found, wanted)
    assert answer.words == "difference: 3,072 px (75 %)"
    seen = colors_of(answer.uri)[16::32, 16::32]
    assert seen.tolist() == [["same", "alone"], ["missed", "other"]]
    same = mask_difference(pixels, color, found, found)
    assert (same.words, same.uri) == ("the same mask", "")


def boxes(*rows: tuple[float, ...]) -> Boxes:
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(int))


BOTH = (4.0, 4.0, 20.0, 20.0, 0.9, 0)


def test_a_box_that_one_of_them_lacks_is_drawn() -> None:
    moved = (4.5, 4.0, 20.0, 20.0, 0.88, 0)
    found = boxes(moved, (40, 40, 60, 60, 0.5, 1))
    wanted = boxes(BOTH, (40, 40, 60, 60, 0.5, 0), (30, 4, 50, 20, 0.4, 0))
    answer = box_difference(GRAY, "gray", found, wanted)
    assert answer.words == "1 alone, 2 missed, 1 common: sides within 0.5 px, scores 0.02"
    seen = colors_of(answer.uri)
    assert {seen[4, 40], seen[60, 50], seen[12, 12]} == {"missed", "alone", "same"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (boxes((6, 4, 22, 20, 0.9, 0)), "1 common: sides within 2 px, scores 0"),
        (boxes(BOTH, BOTH), "1 alone, 1 common: sides within 0 px, scores 0"),
        (boxes(BOTH), "1 common: sides within 0 px, scores 0"),
        (boxes(), "1 missed"),
    ],
)
def test_each_box_is_counted_once(found: Boxes, words: str) -> None:
    answer = box_difference(GRAY, "gray", found, boxes(BOTH))
    assert answer.words == words and bool(answer.uri) == (
        "within 0 px" not in words or "alone" in words
    )
    assert box_difference(GRAY, "gray", boxes(), boxes()).words == "no box in either"
