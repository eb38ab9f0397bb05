"""The page of a bundle: the network in a browser, with the runtime's files beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..targets.board import LANGUAGES, BoardRuntime
from .facts import Facts

HERE = Path(__file__).resolve().parent
INDEX, LIBRARY = "index.html", "ort"
_TASKS = ("classification", "detection", "raw", "segmentation")


def write_page(folder: Path, facts: Facts, board: BoardRuntime) -> None:
    """Write ``index.html`` beside ``model.json``, and all that it loads into ``web/``."""
    (web := folder / "web").mkdir()
    for source in (HERE / "web").iterdir():
        if source.stem not in _TASKS:
            shutil.copyfile(source, (folder if source.name == INDEX else web) / source.name)
    shutil.copyfile(HERE / "web" / f"{facts.task}.mjs", web / "task.mjs")
    shutil.copyfile(board.home / LANGUAGES["web"], web / LANGUAGES["web"])
    (web / LIBRARY).mkdir()
    for name, path in board.library().items():
        shutil.copyfile(path, web / LIBRARY / name)
