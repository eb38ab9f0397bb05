"""One network on every CPU engine, in turn: ``python benchmarks/engines.py [MODEL ...]``.

Every engine gets the network as ``edgeark export`` writes it, float and int8, and the same
images, one at a time on one thread. A round runs each engine once, one after another, in a
process of its own; what counts is the median of the rounds' ratios to ONNX Runtime in float32: what
slows the machine for a while slows both. A model whose weights do not ship has random ones: its
times and sizes are worth a look. Prints a Markdown table a model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edgeark.core.catalog import packaged_weights
from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.pipeline import planned_precisions
from edgeark.export.targets import find_targets
from edgeark.export.targets.base import Artifact, Conversion, Target
from edgeark.zoo import create_model
from edgeark.zoo.spec import name_of, spec_of
from torch import nn

MODELS = ("mnist", "mobilenet_v1_050", "vgg_s", "unet_16", "yolov5n_relu")
BASE = ("onnxruntime", "float32")


@dataclass(frozen=True)
class Entry:
    """An engine with its file, and an image's milliseconds in each round."""

    target: Target
    artifact: Artifact
    times: list[float]

    @property
    def key(self) -> tuple[str, str]:
        return self.target.full_name, self.artifact.precision


def create(name: str) -> nn.Module:
    """With trained weights, which may be for another input size, where they ship."""
    torch.manual_seed(0)
    return create_model(name, pretrained=packaged_weights(name).exists())


def convert(graph: Graph, targets: list[Target], images: np.ndarray) -> list[Entry]:
    """Every export of a model that succeeds; the others are said on stderr."""
    entries = []
    for target in targets:
        for precision in planned_precisions(target, int8=True):
            out = graph.folder / target.folder_name / precision
            out.mkdir(parents=True)
            calibration = images if precision == "int8" else None
            job = Conversion(graph, precision, out, out / "log.txt", calibration)
            try:
                entries.append(Entry(target, target.convert(job), []))
            except EdgearkError as error:
                sys.stderr.write(
                    f"{name_of(graph.model)} {target.full_name} {precision}: {error}\n"
                )
    return entries


def measure(entries: list[Entry], images: np.ndarray, rounds: int) -> None:
    for _ in range(rounds):
        for entry in entries:
            log = entry.artifact.folder / "log.txt"
            result = entry.target.run(entry.artifact, images, log)
            if result is not None:
                entry.times.append(result.ms_per_image)


def table(entries: list[Entry]) -> Iterator[str]:
    timed = [entry for entry in entries if entry.times]
    base = next(entry for entry in timed if entry.key == BASE)
    yield "| engine | precision | time of ONNX Runtime's | ms | KiB |"
    yield "|---|---|--:|--:|--:|"
    for entry in timed:
        ratios = [mine / its for mine, its in zip(entry.times, base.times, strict=True)]
        numbers = f"{statistics.median(ratios):.2f} | {statistics.median(entry.times):.2f}"
        size = entry.artifact.size_bytes // 1024
        yield f"| `{entry.key[0]}` | {entry.key[1]} | {numbers} | {size:,} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--to", default="cpu", help="targets, comma-separated, or groups")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=50)
    chosen = parser.parse_args()
    for name in chosen.models:
        model = create(name)
        spec, rng = spec_of(model), np.random.default_rng(0)
        images = rng.integers(0, 256, (chosen.images, *spec.input_shape[1:]), np.uint8)
        with tempfile.TemporaryDirectory(prefix="edgeark-engines-") as folder:
            graph = Graph(model, spec, Path(folder))
            entries = convert(graph, find_targets(chosen.to), images)
            measure(entries, images, chosen.rounds)
            sys.stdout.write("\n".join([f"\n{name}:\n", *table(entries)]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
