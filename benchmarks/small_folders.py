"""What training on a small folder reaches: ``python benchmarks/small_folders.py [SET ...]``.

Writes folders as a user has them, out of the data sets in ``$EDGEARK_DATA``, and trains on each by
README's command, from random weights (``--pretrained none``: the shipped ones know these images):

- ``signs``: 80 photographs each of four hand signs, class folders;
- ``cells``: 60 images with boxes of red and white blood cells, YOLO's text files;
- ``tiles``: 100 tiles with defects and their masks.

Tested is on the data set's own test images: other persons, other slides, other tiles. Seeds are 0,
1, 2 ...; the images are drawn by the same seed. A line a run goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from defusedxml.ElementTree import parse
from edgeark.training.data.files import read_split
from PIL import Image

_CELLS = ("RBC", "WBC")
_SIGNS = ("0", "1", "2", "3")


def write_signs(source: Path, folder: Path, rng: np.random.Generator) -> None:
    for part, names in read_split(source / "sign_digits/split.tsv").items():
        for sign in _SIGNS:
            found = [name for name in names if Path(name).parent.name == sign]
            for name in _draw(found, 80, rng) if part == "train" else found:
                _copy(source / "sign_digits" / name, folder / part / sign)


def write_cells(source: Path, folder: Path, rng: np.random.Generator) -> None:
    place = source / "bccd/BCCD"
    for part, listed in (("train", "trainval"), ("test", "test")):
        names = (place / f"ImageSets/Main/{listed}.txt").read_text().split()
        for name in _draw(names, 60, rng) if part == "train" else names:
            image = place / f"JPEGImages/{name}.jpg"
            _copy(image, folder / "images" / part)
            with Image.open(image) as opened:
                width, height = opened.size
            rows = []
            for found in parse(place / f"Annotations/{name}.xml").getroot().iter("object"):
                if found.findtext("name") in _CELLS:
                    x1, y1, x2, y2 = (
                        float(found.findtext(f"bndbox/{key}"))
                        for key in ("xmin", "ymin", "xmax", "ymax")
                    )
                    box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height,
                           (x2 - x1) / width, (y2 - y1) / height)  # fmt: skip
                    kind = _CELLS.index(found.findtext("name"))
                    rows.append(f"{kind} " + " ".join(f"{value:.6f}" for value in box))
            text = folder / "labels" / part / f"{name}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("\n".join(rows))
    (folder / "classes.txt").write_text("\n".join(_CELLS))


def write_tiles(source: Path, folder: Path, rng: np.random.Generator) -> None:
    place = source / "magnetic_tile"
    for part, names in read_split(place / "split.tsv").items():
        marked = [name for name in names if not name.startswith("MT_Free")]
        for name in _draw(marked, 100, rng) if part == "train" else names:
            image = place / name
            _copy(image, folder / part / "images")
            _copy(image.with_suffix(".png"), folder / part / "masks")


def _draw(names: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.permutation(len(names))[:count]]


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder)


@dataclass(frozen=True)
class Small:
    """A small set: how it is written, and the command that trains on it."""

    write: Callable[[Path, Path, np.random.Generator], None]
    recipe: str
    dataset: str


SETS = {
    "signs": Small(write_signs, "mobilenet_v1_050", "image_folder"),
    "cells": Small(write_cells, "yolov5n_bccd", "yolo_txt"),
    "tiles": Small(write_tiles, "unet_16", "mask_folder"),
}


@dataclass(frozen=True)
class Result:
    """``test`` in per cent; minutes by the clock and of the processor."""

    metric: str
    test: float
    n: int
    wall: float
    cpu: float


def train(small: Small, recipe: str, source: Path, seed: int, size: str | None) -> Result:
    with tempfile.TemporaryDirectory(prefix="small-folder-") as place:
        folder = Path(place, "photos")
        small.write(source, folder, np.random.default_rng(seed))
        command = [
            *(sys.executable, "-m", "edgeark", "train", recipe, "--dataset", small.dataset),
            *("--data", str(folder), "--pretrained", "none", "--seed", str(seed)),
            *("--out", str(Path(place, "run")), "--device", "cpu", "--json"),
            *(("--size", size) if size else ()),
        ]
        before, started = _cpu_seconds(), time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        wall, cpu = time.monotonic() - started, _cpu_seconds() - before
    report = json.loads(done.stdout)
    return Result(report["metric"], 100 * report["test"], report["n"], wall / 60, cpu / 60)


def _cpu_seconds() -> float:
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; default: all"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", help="another one than README's")
    parser.add_argument("--size", help="another input than the recipe's")
    options = parser.parse_args()
    source = Path(os.environ["EDGEARK_DATA"])
    rows = ["| folder | recipe | metric | mean | seeds | n | wall min | CPU min |"]
    rows.append("|---|---|---|--:|---|--:|--:|--:|")
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set {min(unknown)}")
    for name in options.sets or SETS:
        small = SETS[name]
        recipe = options.recipe or small.recipe
        results = []
        for seed in range(options.seeds):
            results.append(train(small, recipe, source, seed, options.size))
            sys.stderr.write(f"{name} seed {seed}: {results[-1]}\n")
        each = ", ".join(f"{result.test:.1f}" for result in results)
        mean, wall, cpu = (
            np.mean([getattr(result, key) for result in results]) for key in ("test", "wall", "cpu")
        )
        rows.append(
            f"| {name} | `{recipe}` | {results[0].metric} | {mean:.1f} | {each} | "
            f"{results[0].n} | {wall:.1f} | {cpu:.1f} |"
        )
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
