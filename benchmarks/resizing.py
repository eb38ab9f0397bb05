"""Images shrunk with and without antialiasing: what the weights that ship score.

    python benchmarks/resizing.py [MODEL ...]

Each network is measured in PyTorch on its whole test set twice: as edgeark resizes (bilinear, the
filter widened where an image shrinks, as Pillow's) and plainly bilinear (two pixels an axis,
whatever the factor, as OpenCV's INTER_LINEAR). The weights were trained on images that were resized
in the first way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from edgeark.core.scratch import scratch_folder
from edgeark.export.request import NetworkRequest
from edgeark.zoo.tasks import images

MODELS = ("mobilenet_v1_050", "yolov5n", "unet_16")


def plain_matrix(old: int, new: int) -> np.ndarray:
    """Bilinear interpolation along one axis, ``[new, old]``, two pixels each; edges repeat."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, old - 1)
    matrix = np.zeros((new, old), np.float32)
    rows = np.arange(new)
    np.add.at(matrix, (rows, low), 1 - (centres - low))
    np.add.at(matrix, (rows, high), centres - low)
    return matrix


def measure(model: str, data: Path | None) -> tuple[dict[str, float], int, np.ndarray]:
    """The task's figures on the whole test set, the number of images, and these."""
    with scratch_folder("resizing") as scratch:
        context = NetworkRequest(model, data=data).prepare(Path(scratch))
        return context.figures(len(context.test)), len(context.test), context.test.images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--data", type=Path)
    chosen = parser.parse_args()
    sys.stdout.write("| model | metric | antialiased | plain | n | images that differ |\n")
    for model in chosen.models:
        smooth, n, before = measure(model, chosen.data)
        with mock.patch.object(images, "resize_matrix", plain_matrix):
            plain, _, after = measure(model, chosen.data)
        differ = (before != after).any(axis=(1, 2, 3)).mean()
        for name in smooth:
            sys.stdout.write(
                f"| `{model}` | {name} | {100 * smooth[name]:.2f} | {100 * plain[name]:.2f} "
                f"| {n} | {100 * differ:.0f} % |\n"
            )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
