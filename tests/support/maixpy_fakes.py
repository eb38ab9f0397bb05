"""Stand-ins for MaixPy v1's modules: a camera of given images, a display, a simulated KPU.

They follow the firmware's published source where a script can notice: ``forward`` wants the copy of
the image that the KPU reads (the camera makes it for RGB565 alone, ``resize`` loses it), checks
its size and kind, computes output 0, and reads its numbers by the kind of the kmodel's last layer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from edgeark.export.kpu import Simulator, read_kmodel

# By the layer's type; kinds beyond 21 are not in the firmware's table.
_TYPE_CODES = {
    **dict.fromkeys((1, 5, 9, 12, 14, 15, 16, 18, 20), "f"),
    **dict.fromkeys((2, 8, 10, 11, 13, 17, 19, 21, 10240, 10241, 10242, 10243), "B"),
}


class ImagesEnd(Exception):
    """The camera has no more images."""


class Image:
    """uint8 ``[C, h, w]``; ``ai`` is what the KPU would read."""

    def __init__(self, pixels: np.ndarray, ai: np.ndarray | None = None) -> None:
        self.pixels, self.ai = pixels, ai
        self.texts: list[str] = []
        self.boxes: list[tuple[int, int, int, int]] = []

    def resize(self, width: int, height: int) -> Image:
        _, old_height, old_width = self.pixels.shape
        rows = np.arange(height) * old_height // height
        columns = np.arange(width) * old_width // width
        return Image(self.pixels[:, rows[:, None], columns])

    def pix_to_ai(self) -> None:
        self.ai = self.pixels.copy()

    def draw_string(
        self, x: int, y: int, text: str, *, color: int | tuple[int, int, int], scale: int = 1
    ) -> None:
        assert isinstance(color, int) == (len(self.pixels) == 1)
        self.texts.append(text)

    def draw_rectangle(
        self, x: int, y: int, w: int, h: int, *, color: int | tuple[int, int, int]
    ) -> None:
        assert all(isinstance(value, int) for value in (x, y, w, h))
        self.boxes.append((x, y, w, h))


class FeatureMap:
    """What ``forward`` returns: numbers by index, or a tuple of them by slice; no iteration."""

    __iter__ = None

    def __init__(self, data: bytes, type_code: str) -> None:
        self._numbers = np.frombuffer(data, np.float32 if type_code == "f" else np.uint8)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            assert index.step is None
            return tuple(self._numbers[index].tolist())
        return self._numbers[index].item()


@dataclass
class Board:
    """A board whose card is ``card`` and whose camera sees ``scenes``, each ``[C, h, w]``."""

    card: Path
    scenes: Sequence[np.ndarray]
    window: tuple[int, int] = (320, 240)
    gray: bool = False
    inputs: list[np.ndarray] = field(default_factory=list)
    shown: list[Image] = field(default_factory=list)
    loaded: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it what ``import sensor, lcd, image, KPU`` finds."""
        modules: dict[str, dict[str, Any]] = {
            "sensor": {
                **{"RGB565": 2, "GRAYSCALE": 3, "QVGA": 4},
                **{"reset": lambda: None, "run": lambda on: None},
                **{"set_pixformat": self._set_format, "set_framesize": lambda size: None},
                **{"set_windowing": self._set_window, "snapshot": self._snapshot},
            },
            "lcd": {"init": lambda: None, "display": self.shown.append},
            "image": {"Image": Image},
            "KPU": {
                **{"load": self._load, "forward": self._forward, "deinit": self._deinit},
                "fmap_free": lambda numbers: None,
            },
        }
        for name, members in modules.items():
            module = ModuleType(name)
            vars(module).update(members)
            monkeypatch.setitem(sys.modules, name, module)
        self._remaining = iter(self.scenes)

    def _set_format(self, value: int) -> None:
        self.gray = value == 3

    def _set_window(self, size: tuple[int, int]) -> None:
        assert not any(side % 8 for side in size), "the camera garbles such a window"
        self.window = size

    def _snapshot(self) -> Image:
        scene = next(self._remaining, None)
        if scene is None:
            raise ImagesEnd
        assert scene.shape == (1 if self.gray else 3, *self.window[::-1])
        return Image(scene, None if self.gray else scene.copy())

    def _load(self, path: str) -> Simulator:
        self.loaded += 1
        return Simulator(read_kmodel((self.card / Path(path).relative_to("/sd")).read_bytes()))

    def _deinit(self, task: Simulator) -> None:
        self.loaded -= 1

    def _forward(self, task: Simulator, image: Image) -> FeatureMap:
        assert image.ai is not None, "pix_ai is NULL"
        assert image.ai.shape == task.input.shape, "check img format err"
        self.inputs.append(image.ai)
        output = task.run(image.ai[None])[0]
        return FeatureMap(output.tobytes(), _TYPE_CODES[task.kmodel.layers[-1].type_id])
