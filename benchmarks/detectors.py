"""YOLOv8 and YOLO11 beside Ultralytics' own exports: ``python benchmarks/detectors.py --help``.

A pair is one network with the same random weights on the same engine: ours, imported from their
``.pt`` and written by ``edgeark export``, and theirs, by their exporter as it ships (boxes are
decoded in the graph) or with raw heads, which is the same arithmetic. Both run in one process with
the engine of their environment, in turn, on the same image; what counts is the median of the
rounds' ratios, ours / theirs.

Ultralytics' code is under the AGPL and no dependency of edgeark: ``--ultralytics`` names the Python
of an environment that has it, with onnx, onnxslim, onnxruntime, openvino, ncnn and pnnx.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeark.export.graph.files import Graph
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.zoo import spec_of
from edgeark.zoo.importers import import_weights

CHILD = Path(__file__).with_name("ultralytics_detectors.py").resolve()
ENGINES = ("onnxruntime", "openvino", "ncnn")
THEIRS = {"raw": "raw heads", "ships": "as it ships"}
SIDE = 640
MOST_ERROR = 1e-3  # of an output's largest value, in another order of additions


def call(python: str, folder: Path, *arguments: object) -> Iterator[str]:
    """The lines of the child. It shall neither install anything nor write into the home folder."""
    settings = {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True", "YOLO_CONFIG_DIR": str(folder)}
    command = [python, str(CHILD), *map(str, arguments)]
    environment = {**os.environ, **settings}
    log = folder / "log.txt"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    with process:
        yield from process.stdout
    if process.returncode:
        raise SystemExit(f"{command}: exit status {process.returncode}\n{log.read_text()[-2000:]}")


def make_pairs(name: str, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    for _ in call(arguments.ultralytics, folder, "write", name, SIDE, folder):
        pass
    model = import_weights(folder / f"{name}.pt", name).model
    spec = spec_of(model)
    graph = Graph(model, spec, folder)
    pairs = []
    for engine in arguments.engines:
        ours = folder / engine / "ours"
        ours.mkdir()
        find_target(engine).convert(Conversion(graph, "float32", ours, ours / "log.txt"))
        for kind in THEIRS:
            for threads in arguments.threads:
                paths = {"ours": str(ours), "theirs": str(folder / engine / kind)}
                facts = {"engine": engine, "threads": threads, "shape": list(spec.input_shape)}
                pairs.append({**paths, **facts, "kind": kind, "equal": kind == "raw"})
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["yolov8n", "yolo11n"])
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--ultralytics", required=True, metavar="PYTHON")
    arguments = parser.parse_args()
    say("| network | engine | theirs | threads | ours ms | theirs ms | wall | CPU | rounds |")
    say("|---|---|---|--:|--:|--:|--:|--:|--:|")
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            pairs = make_pairs(name, folder, arguments)
            given = folder / "pairs.json"
            given.write_text(json.dumps({"pairs": pairs, "seconds": arguments.seconds}))
            lines = call(arguments.ultralytics, folder, "time", given)
            for pair, line in zip(pairs, lines, strict=True):
                say(row_of(name, pair, json.loads(line)))


def row_of(name: str, pair: dict[str, Any], found: dict[str, Any]) -> str:
    error = found["error"]
    if pair["equal"] and not error <= MOST_ERROR:
        raise SystemExit(f"{name} on {pair['engine']}: the two differ by {error}")
    ratios = ("**{1:.3f}** ({0:.3f}-{2:.3f})".format(*found[clock]) for clock in ("wall", "cpu"))
    ours, theirs = found["ms"]
    facts = [name, pair["engine"], THEIRS[pair["kind"]], pair["threads"]]
    times = [f"{ours:.1f}", f"{theirs:.1f}", *ratios, found["rounds"]]
    return "| " + " | ".join(map(str, [*facts, *times])) + " |"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
