"""What a board engineer needs to convert a network with RKNN-Toolkit 1.7 and to run it.

Scripts for its API and calibration images. The facts of that API are from Rockchip's published
documents and examples (repository rockchip-linux/rknn-toolkit): the toolkit itself is not to be had
from a package index.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ....training.data import Frame
from ....zoo.spec import ModelSpec
from ....zoo.tasks.letterbox import GREY
from ...targets.own_script import require_own_script
from ...targets.templates import open_templates

CONVERT, RUN, README, DATASET = "convert.py", "run_on_board.py", "README.md", "dataset.txt"
CALIBRATION = "calibration"  # the folder of the images
_TEMPLATES = Path(__file__).parent / "templates"
# The chip is fed rgb; of a single channel nothing is to be reordered.
_ORDERS = {"rgb": "0 1 2", "bgr": "2 1 0", "gray": None}
_BATCH_VALUES = 20_000_000  # of one batch of images; the toolkit keeps every map of a batch


def write_kit(
    folder: Path,
    name: str,
    spec: ModelSpec,
    chip: str,
    outputs: Sequence[tuple[int, ...]],
    images: np.ndarray | None,
) -> tuple[str, ...]:
    """Write scripts, README and, to quantise, the images to calibrate on.

    Args:
        folder: it exists; the networks, ``model.onnx`` and ``model.pt``, are put there by others.
        name: the network's.
        spec: how it is fed and what its answers mean.
        chip: the toolkit's name of it.
        outputs: shapes of the raw outputs.
        images: raw uint8 ``[N, C, H, W]``; None for float16.

    Returns:
        The files' names in ``folder``, without the images'.
    """
    count = 0 if images is None else len(images)
    values: dict[str, Any] = {
        "name": name,
        "chip": chip,
        "task": spec.task,
        "color": spec.color,
        "shape": spec.input_shape,
        "mean": spec.mean,
        "std": spec.std,
        "reorder": _ORDERS[spec.color],
        "outputs": [list(shape) for shape in outputs],
        "classes": spec.classes,
        "strides": spec.strides,
        "anchors": [[list(size) for size in sizes] for sizes in spec.anchors],
        "head": spec.head,
        "grey": GREY,
        "centred": Frame.of(spec).centred,
        "dataset": DATASET if count else None,
        "images": count,
        "batch_size": _batch_size(count, int(np.prod(spec.input_shape))),
        "license": spec.license,
    }
    templates = open_templates(_TEMPLATES)
    for file in (CONVERT, RUN, README):
        text = templates.get_template(f"{file}.jinja").render(values)
        (folder / file).write_text(text, encoding="utf-8")
    if images is None:
        return CONVERT, RUN, README
    write_dataset(folder, images, spec.color)
    return CONVERT, RUN, README, DATASET


def require_own_kit(folder: Path) -> None:
    """Refuse a ``convert.py`` that :func:`write_kit` did not write.

    Raises:
        EdgearkError: it is another program.
    """
    template = open_templates(_TEMPLATES).get_template(f"{CONVERT}.jinja")
    constants = {"name": "", "chip": "", "shape": (1, 1), "mean": (0.0,), "std": (1.0,)}
    constants |= {"dataset": None, "batch_size": 1}
    written = [template.render({**constants, "reorder": order}) for order in _ORDERS.values()]
    require_own_script(folder / CONVERT, written)


def write_dataset(folder: Path, images: np.ndarray, color: str) -> None:
    """``dataset.txt``, one image a line, and the images.

    Colour images are rgb PNG files. A single channel is an .npy file of ``[H, W, 1]``, since the
    toolkit reads image files as colour.

    Args:
        folder: it exists.
        images: raw uint8 ``[N, C, H, W]``, in the network's order of colours.
        color: that order.
    """
    (folder / CALIBRATION).mkdir()
    names = []
    for index, image in enumerate(images):
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        names.append(f"{CALIBRATION}/{index:04d}.{'npy' if color == 'gray' else 'png'}")
        if color == "gray":
            np.save(folder / names[-1], pixels)
        else:
            Image.fromarray(pixels[..., ::-1] if color == "bgr" else pixels).save(
                folder / names[-1]
            )
    (folder / DATASET).write_text("".join(f"{name}\n" for name in names))


def _batch_size(count: int, values: int) -> int:
    """How many images are calibrated on at a time: the toolkit's 100, or fewer of large ones.

    It divides their number, since documents do not say what becomes of an incomplete batch.
    """
    most = max(1, min(100, _BATCH_VALUES // values))
    return max(size for size in range(1, most + 1) if count % size == 0)
