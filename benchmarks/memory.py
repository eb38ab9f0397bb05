"""What training on many images takes: ``python benchmarks/memory.py [--images N] [--steps S]``.

Writes N JPEGs of 224x224 and four classes into a folder, trains MobileNet v1 0.25 at that size, and
prints the most memory that the process had resident: after listing and looking at them, after
decoding them all, and at the end of an epoch with validation and test. The epoch is cut to S
batches, drawn from all images; nothing else is. The folder is deleted afterwards.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RECIPE = """model = "mobilenet_v1_025"
dataset = "image_folder"
script = "mobilenet"
epochs = 1
batch_size = 32
val_size = 1000
precision = "bf16-mixed"
channels_last = true
model_args = { input_size = [224, 224] }
[optim]
lr = 3e-3
[augment]
degrees = 20
hflip = 0.5
"""


def write_images(folder: Path, count: int) -> None:
    """Noise of a class's colour, 224x224; every hundredth is a test image."""
    rng = np.random.default_rng(0)
    tints = rng.integers(0, 128, (4, 3), np.uint8)
    for index in range(count):
        part = "test" if index % 400 < 4 else "train"
        place = folder / part / f"class{index % 4}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 128, (8, 8, 3), np.uint8) + tints[index % 4]
        image, encoded = Image.fromarray(coarse).resize((224, 224)), BytesIO()
        image.save(encoded, "JPEG", quality=80)
        (place / f"{index}.jpg").write_bytes(encoded.getvalue())


def peak_gib() -> float:
    """The most that was resident, of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Rows:
    """The table: a line a stage."""

    def __init__(self) -> None:
        self.lines, self._start = ["| stage | peak GiB | s |", "|---|--:|--:|"], time.monotonic()

    def add(self, stage: str) -> None:
        line = f"| {stage} | {peak_gib():.2f} | {time.monotonic() - self._start:.0f} |"
        self.lines.append(line)
        sys.stderr.write(line + "\n")


def train(data: Path, steps: int) -> Rows:
    from edgeark.training import classification, scripts
    from edgeark.training.config import load_recipe

    rows = Rows()
    rows.add("import")
    batches, load, look = (
        classification.ClassificationTask.train_batches,
        classification.load_parts,
        scripts._look_first,
    )

    def few_batches(task: Any, batch_size: int, epoch: int) -> Any:
        whole = task.train
        drawn = np.random.default_rng(epoch).permutation(len(whole))[: steps * batch_size]
        task.train = whole.subset(drawn)
        try:
            return batches(task, batch_size, epoch)
        finally:
            task.train = whole

    def stage(name: str, function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            rows.add(name)
            return result

        return call

    classification.ClassificationTask.train_batches = few_batches
    classification.load_parts = stage("decode all", load)
    scripts._look_first = stage("look at all", look)
    recipe = data / "r.toml"
    recipe.write_text(RECIPE)
    scripts.train(load_recipe(recipe), data / "run", data=data / "images", device="cpu")
    rows.add(f"{steps} steps, validation, test")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-images-") as place:
        pid = os.fork()  # what writing takes is not counted
        if pid == 0:
            write_images(Path(place, "images"), options.images)
            os._exit(0)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit("the images could not be written")
        rows = train(Path(place), options.steps)
    sys.stdout.write("\n".join(rows.lines) + "\n")


if __name__ == "__main__":
    main()
