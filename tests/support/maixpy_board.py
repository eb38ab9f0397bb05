"""A MaixPy script run on the stand-in of its board."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.maixpy_fakes import Board, Image, ImagesEnd


def run_main(
    bundle: Path, scenes: Sequence[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> tuple[Board, list[Any]]:
    """The board after its ``main.py`` saw all scenes, and the answer to each."""
    board = Board(bundle, scenes)
    board.install(monkeypatch)
    script = runpy.run_path(str(bundle / "main.py"), run_name="main")
    answers: list[Any] = []
    names = script["main"].__globals__
    show = names["show"]

    def remember(image: Image, found: Any) -> None:
        answers.append(found)
        show(image, found)

    names["show"] = remember
    with pytest.raises(ImagesEnd):
        script["main"]()
    assert board.loaded == 0 and len(board.shown) == len(answers) == len(scenes)
    return board, answers
