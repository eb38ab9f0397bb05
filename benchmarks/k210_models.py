"""What the zoo's networks take of a K210: ``python benchmarks/k210_models.py [ROW ...]``.

Each network is compiled for the target ``k210`` and run on one image in its simulator. Weights
are random, with batch normalisation's statistics of the calibration images: placement, memory and
estimated time do not depend on them. A row is a model with its builder's arguments, as in
``"yolov5n stem=3x3 input_size=(224,224)"``. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Placement
from edgeark.zoo import create_model
from edgeark.zoo.spec import ModelSpec, spec_of
from edgeark.zoo.tasks.images import normalize
from torch import nn

ROWS = (
    "mnist_kpu",
    "vgg_kpu",
    *(f"mobilenet_v1_{width} input_size=(128,128)" for width in ("025", "050", "075")),
    *(f"mobilenet_v1_{width} input_size=(224,224)" for width in ("025", "050", "075")),
    "unet_8 input_size=(128,128)",
    "unet_8 input_size=(224,224)",
    "yolov5n stem=3x3 input_size=(224,224)",
    "yolov5n stem=3x3 act=relu input_size=(224,224)",
    "yolov5n stem=3x3 num_classes=3 input_size=(224,320)",
)
IMAGES = 8


def build(row: str) -> nn.Module:
    name, *words = row.split()
    arguments: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        arguments[key] = value if value.isidentifier() or key == "stem" else ast.literal_eval(value)
    torch.manual_seed(0)
    return create_model(name, **arguments)


def patches(spec: ModelSpec) -> np.ndarray:
    """Images of 4x4 pixels a patch."""
    height, width = spec.input_size
    shape = (IMAGES, spec.in_channels, height // 4, width // 4)
    coarse = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return coarse.repeat(4, axis=2).repeat(4, axis=3)


def measure(row: str, folder: Path) -> str:
    model = build(row)
    spec, images = spec_of(model), patches(spec_of(model))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.from_numpy(normalize(images, spec.mean, spec.std)))
    graph, target = Graph(model.eval(), spec, folder), find_target("k210")
    log = folder / "log.txt"
    artifact = target.convert(Conversion(graph, "int8", folder, log, images))
    target.run(artifact, images[:1], log)
    placement = target.placement(artifact)
    assert placement is not None
    return _cells(placement, spec)


def _cells(placement: Placement, spec: ModelSpec) -> str:
    used = {name: have["used"] for name, have in placement.memory.items()}
    on_cpu = Counter(op.split()[0] for op in placement.cpu_ops)
    listed = ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in on_cpu.items())
    cells = [
        "x".join(map(str, spec.input_shape[1:])),
        f"{100 * placement.npu_mac_fraction:.0f} %",
        f"{used['KPU memory'] / 2**20:.2f}",
        f"{used['main memory'] / 2**20:.2f}",
        f"{placement.estimated_ms:.1f}",
        listed,
    ]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=ROWS)
    say = sys.stdout.write
    say("| model | input | MACs on the KPU | KPU MiB | main MiB | ms, estimated | on the CPU |\n")
    say("|---|---|--:|--:|--:|--:|---|\n")
    for row in parser.parse_args().rows:
        name, *words = row.split()
        shown = " ".join([f"`{name}`", *(w for w in words if not w.startswith("input_size"))])
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = measure(row, Path(folder))
            except EdgearkError as error:
                line = f"{error}"
        say(f"| {shown} | {line} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
