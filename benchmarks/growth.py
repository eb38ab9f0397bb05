"""How commands grow with the number of layers: ``python benchmarks/growth.py``.

The network is a chain of residual blocks of two 3x3 convolutions of 16 channels on 32x32 pixels,
with batch normalisation; every block has a ``torch.lerp``, which ``rewrite`` mends for OpenCV. Each
command is a fresh process, the lines in turn, so that a busy machine slows all of them alike. CPU
seconds are the operating system's own account of the finished process and its children: medians.
The last lines are resnet18 in PyTorch's own size, with 50 images in a folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from startup import measure

NETWORK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.first_norm(self.first(x)))
        return self.act(x + self.second_norm(self.second(torch.lerp(y, x, 0.25))))


class Chain(nn.Sequential):
    def __init__(self, count):
        super().__init__(nn.Conv2d(3, 16, 3, 2, 1), *(Block(16) for _ in range(count)))


"""
SHAPE = ("--input-shape", "3x64x64")
COMMANDS = {
    "`check --to all`": ("check", "--to", "all"),
    "`check --to mnn`": ("check", "--to", "mnn"),
    "`rewrite --to opencv`": ("rewrite", "--to", "opencv"),
    "`export --to onnxruntime`": ("export", "--to", "onnxruntime"),
}
RESNET = {
    "resnet18: `check --to all`": ("check", "torchvision:resnet18", "--to", "all"),
    "resnet18: `export --to onnxruntime`, 50 images": (
        *("export", "torchvision:resnet18", "--to", "onnxruntime", "--images", "photos"),
    ),
}


def write_inputs(folder: Path, counts: list[int]) -> None:
    """The networks, and 50 images of low-pass noise of 320x240 pixels."""
    made = "".join(f"def chain{count}():\n    return Chain({count})\n\n\n" for count in counts)
    (folder / "nets.py").write_text(NETWORK + made, encoding="utf-8")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(50):
        small = rng.integers(0, 256, (15, 20, 3), np.uint8)
        Image.fromarray(small).resize((320, 240)).save(folder / "photos" / f"{index}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blocks", type=int, nargs="+", default=[5, 10, 20, 40, 80])
    options = parser.parse_args()
    edgeark = [sys.executable, "-m", "edgeark"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, options.blocks)
        cases: dict[tuple[str, int], list[str]] = {}
        for title, (command, *rest) in COMMANDS.items():
            for count in options.blocks:
                words = [command, f"nets.py:chain{count}", *rest, *SHAPE]
                cases[title, count] = [*edgeark, *words]
        for title, words in RESNET.items():
            cases[title, 0] = [*edgeark, *words]
        found: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in cases}
        for run in range(options.runs):
            for (title, count), words in cases.items():
                command = [
                    *words,
                    *(["--out", f"out{run}_{count}"] if "check" not in words else []),
                ]
                found[title, count].append(measure(command, name, allowed=(0, 1)))
    columns = [f"{2 * count + 1} convolutions" for count in options.blocks]
    sys.stdout.write(f"| CPU s | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}\n")
    for title in COMMANDS:
        medians = [statistics.median(cpu for _, cpu in found[title, n]) for n in options.blocks]
        sys.stdout.write(f"| {title} | {' | '.join(f'{value:.1f}' for value in medians)} |\n")
    sys.stdout.write("\n| what | wall s | CPU s |\n|---|--:|--:|\n")
    for title in RESNET:
        wall, cpu = map(statistics.median, zip(*found[title, 0], strict=True))
        sys.stdout.write(f"| {title} | {wall:.1f} | {cpu:.1f} |\n")


if __name__ == "__main__":
    main()
