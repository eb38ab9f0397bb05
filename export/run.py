"""Run an artifact on a picture, away from the pipeline that wrote it; by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DataError, EdgearkError
from ..training.data.folders import decode
from ..zoo.tasks.pictures import to_input


def run_artifact(artifact: Path, picture: Path) -> list[np.ndarray]:
    """The outputs, ``[1, ...]`` each, for one picture, which is resized to the artifact's input.

    Raises:
        EdgearkError: nothing here runs such a file; or it is broken.
        DataError: the picture cannot be read.
    """
    runner = _RUNNERS.get(artifact.suffix.lower())
    if runner is None:
        raise EdgearkError(
            f"cannot run {artifact.name}: files that can be run end in {', '.join(_RUNNERS)}"
        )
    return runner(artifact, read_picture(picture))


def read_picture(path: Path) -> np.ndarray:
    """A picture file as uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), the way up that its camera says.

    Raises:
        DataError: Pillow cannot read it.
    """
    try:
        return decode(path.read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"cannot read the picture {path}: {error}") from None


def _run_kmodel(path: Path, picture: np.ndarray) -> list[np.ndarray]:
    """On the K210 simulator; pixels go in as they are, 0..255."""
    from .kpu import KmodelError, Simulator, read_kmodel
    from .kpu.layer import MAIN_BYTES

    with path.open("rb") as file:
        data = file.read(MAIN_BYTES + 1)
    try:
        simulator = Simulator(read_kmodel(data))
        shape = simulator.input.shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise KmodelError(f"its input is {list(shape)}, which is no picture")
        channels, *size = shape
        return simulator.run(to_input(picture, (size[0], size[1]), channels))
    except KmodelError as error:
        raise KmodelError(f"{path.name}: {error}") from None


_RUNNERS: dict[str, Callable[[Path, np.ndarray], list[np.ndarray]]] = {".kmodel": _run_kmodel}
