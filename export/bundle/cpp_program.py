"""The C++ program of a bundle: sources, the runtime's file, and ``model.h`` with the constants."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..results.interface import OutputFacts
from ..targets.board import LANGUAGES, BoardRuntime
from ..targets.templates import open_templates
from .facts import Facts

HERE = Path(__file__).resolve().parent
_TASKS = ("classification", "detection", "raw", "segmentation")
_TYPES = {"float32": "EP_FLOAT32", "int8": "EP_INT8", "uint8": "EP_UINT8"}


def write_cpp(folder: Path, facts: Facts, board: BoardRuntime) -> None:
    """Write the sources into a new folder: with CMake and the runtime they are a program."""
    folder.mkdir()
    for source in (*(HERE / "cpp").iterdir(), *(HERE / "c").iterdir()):
        if source.suffix != ".jinja" and source.stem not in _TASKS:
            shutil.copyfile(source, folder / source.name)
    shutil.copyfile(HERE / "cpp" / f"{facts.task}.cpp", folder / "task.cpp")
    shutil.copyfile(board.home / LANGUAGES["cpp"], folder / "runtime.cpp")
    for header in board.headers:
        shutil.copyfile(header, folder / header.name)
    shutil.copyfile(board.home / "build.cmake", folder / "runtime.cmake")
    (folder / "model.h").write_text(model_header(facts), encoding="ascii")


def write_kotlin(folder: Path) -> None:
    """Write what an app on Android takes besides the C++ sources, which lie beside ``folder``."""
    folder.mkdir()
    for source in (HERE / "kotlin").iterdir():
        shutil.copyfile(source, folder / source.name)


def model_header(facts: Facts) -> str:
    """The facts as C++ constants, in ASCII."""
    templates = open_templates(HERE / "cpp")
    templates.filters.update(
        text=cpp_text, real=cpp_real, type=_TYPES.__getitem__, channels=_channels, sizes=_sizes
    )
    most = max((2 * len(each) for each in facts.head.anchors), default=1)
    return templates.get_template("model.h.jinja").render(facts=facts, most_sizes=most)


def cpp_text(text: str) -> str:
    """A string literal of the text's UTF-8 bytes.

    Every byte that is not printable ASCII is an octal escape of three digits, which ends there
    whatever follows.
    """
    plain = {byte: chr(byte) for byte in range(0x20, 0x7F) if chr(byte) not in '"\\?'}
    return '"' + "".join(plain.get(byte, f"\\{byte:03o}") for byte in text.encode()) + '"'


def cpp_real(value: float) -> str:
    """A float literal; the nearest float32.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no constant")
    text = str(np.float32(value))
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"


def _channels(values: Sequence[float], neutral: float, is_applied: bool) -> str:
    """Three numbers, whatever the channels; neutral ones where the program does not apply them."""
    padded = [*(values if is_applied else ()), neutral, neutral, neutral]
    return ", ".join(cpp_real(value) for value in padded[:3])


def _sizes(output: OutputFacts) -> str:
    """Channels, height and width of an output of any rank; of no map only their product counts."""
    shape = output.shape[1:]
    if len(shape) == 3:
        channels, height, width = shape if output.layout == "NCHW" else (shape[2], *shape[:2])
    else:
        channels, height, width = *[*shape, 1, 1][:2], math.prod(shape[2:])
    return f"{channels}, {height}, {width}"
