"""Bundles for stand-ins of runtimes, which answer as ONNX Runtime does."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from edgeark.export.bundle.cpp_program import write_cpp
from edgeark.export.bundle.facts import Facts, GoldenFacts, facts_of
from edgeark.export.bundle.write import HERE, write_bundle
from edgeark.export.results.interface import turned
from edgeark.export.results.manifest import read_manifest
from edgeark.export.targets import find_target

from support.cpp_programs import build_program, calls_of, run_built, stand_in_options
from support.exports import export
from support.program_answers import check_same, write_photos

Quantization = tuple[float, int]


@dataclass(frozen=True)
class Network:
    """An export to ONNX Runtime, photographs, and the functions of the Python program."""

    folder: Path
    bundle: Path
    photos: list[Path]
    task: dict[str, Any]

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Float32 ``[1, C, h, w]`` of uint8 ``[C, h, w]``."""
        wanted = json.loads((self.bundle / "model.json").read_text())["input"]
        mean, std = (np.float32(wanted[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
        return ((pixels[None] - mean) / std).astype(np.float32)

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(self.bundle / "model.onnx")
        return [np.asarray(o) for o in session.run(None, {"input": self.normalized(pixels)})]


def make_network(model: str, folder: Path) -> Network:
    is_classifier = model.startswith("mobilenet")
    photos = write_photos(folder, *((128, 160) if is_classifier else (60, 96)))
    _, exported = export(model, folder, **({"num_classes": 12} if is_classifier else {}))
    bundle = write_bundle(exported, folder / "bundle").folder
    return Network(exported, bundle, photos, _functions(bundle))


def _functions(bundle: Path) -> dict[str, Any]:
    """Of task.py, and ``read_image`` and ``prepare`` of images.py."""
    sys.path.insert(0, str(HERE / "python"))
    try:
        found = runpy.run_path(str(bundle / "python" / "task.py"))
        images = runpy.run_path(str(HERE / "python" / "images.py"))
    finally:
        sys.path.remove(str(HERE / "python"))
        for name in ("images", "png"):
            sys.modules.pop(name, None)
    return {**found, **{name: images[name] for name in ("prepare", "read_image")}}


@dataclass(frozen=True)
class Board:
    """A bundle with its program, built on a stand-in; ``wanted``: what Python answers."""

    facts: Facts
    bundle: Path
    program: Path
    photos: list[Path]
    wanted: list[dict[str, Any]]

    @property
    def oracle(self) -> Path:
        return self.bundle / "oracle"

    def check(self, *options: str, **environment: str) -> list[str]:
        """Compare the answers to photographs and golden inputs with Python's; all calls."""
        drawn, report = self.bundle / "drawn", self.bundle / "board.json"
        arguments = ("--json", "--out", drawn, "--golden", report, *options)
        env = {"ORACLE": str(self.oracle), **environment}
        ran = run_built(self.program, *self.photos, *arguments, env=env)
        assert ran.status == 0, ran.err
        documents = zip(self.photos, self.wanted, ran.documents(), strict=True)
        for photo, wanted, document in documents:
            check_same(wanted, document, drawn / f"{photo.stem}.mask.png")
        found = json.loads(report.read_text())
        assert found["ok"] and found["target"] == self.facts.target
        return calls_of(self.oracle)


def make_board(
    network: Network,
    target: str,
    folder: Path,
    change: Callable[[Facts], Facts] = lambda facts: facts,
    quantizations: Sequence[Quantization] = (),
    precision: str = "float32",
) -> Board:
    """Build the C++ program for a target, though nothing was converted for it.

    Args:
        network: what answers.
        target: its runtime has a stand-in of its name.
        folder: for the bundle.
        change: the facts, as the converter would have left them.
        quantizations: scale and zero point of each output, where they are int8.
        precision: of the export.
    """
    found, bundle = find_target(target), folder / "bundle"
    assert found.board is not None
    bundle.mkdir()
    base = json.loads((network.bundle / "model.json").read_text())
    golden = {k: tuple(v) if isinstance(v, list) else v for k, v in base["golden"].items()}
    golden["tolerance"] = 0.1 if quantizations else golden["tolerance"]
    manifest = read_manifest(network.folder).model_copy(
        update={"target": target, "precision": precision}
    )
    board = found.board
    facts = facts_of(manifest, board, GoldenFacts(**golden), found.chip)
    fed = replace(
        facts.input,
        type=board.input_type,
        layout=board.input_layout,
        shape=turned(facts.input.shape, board.input_layout),
        normalized_by=board.normalized_by,
    )
    facts = change(replace(facts, input=fed))
    for file in facts.files:
        shutil.copyfile(network.bundle / "model.onnx", bundle / file["name"])
    shutil.copytree(network.bundle / "golden", bundle / "golden")
    write_cpp(bundle / "cpp", facts, board)
    program = build_program(bundle, *stand_in_options(found.name, bundle))
    wanted = _write_oracle(network, facts, bundle / "oracle", quantizations)
    return Board(facts, bundle, program, network.photos, wanted)


def _write_oracle(
    network: Network, facts: Facts, oracle: Path, quantizations: Sequence[Quantization]
) -> list[dict[str, Any]]:
    """What the stand-in answers; the meaning of that for each photograph."""
    oracle.mkdir()
    wanted, task = [], network.task
    options = Namespace(score=None, iou=None, top=5)
    shape = (facts.golden.count, len(facts.input.mean), facts.input.height, facts.input.width)
    inputs = list(np.fromfile(network.bundle / facts.golden.pixels, np.uint8).reshape(shape))
    dictionary = json.loads(json.dumps(facts.to_dict()))
    prepared = [task["prepare"](task["read_image"](str(p)), dictionary) for p in network.photos]
    for number, pixels in enumerate([pixels for pixels, _ in prepared] + inputs):
        _fed(network, facts, pixels).tofile(oracle / f"input{number}.bin")
        outputs = network.run(pixels)
        if quantizations:
            outputs = [_on_grid(o, q) for o, q in zip(outputs, quantizations, strict=True)]
        for index, output in enumerate(outputs):
            np.ascontiguousarray(output).tofile(oracle / f"output{number}-{index}.bin")
        if number < len(prepared):
            wanted.append(task["read"](outputs, prepared[number][1], dictionary, options))
    for index, quantization in enumerate(quantizations):
        np.array(quantization, np.float32).tofile(oracle / f"scale{index}.bin")
    return wanted


def _fed(network: Network, facts: Facts, pixels: np.ndarray) -> np.ndarray:
    """As the runtime gets them."""
    wanted = facts.input
    x = network.normalized(pixels) if wanted.normalized_by == "program" else pixels[None]
    if wanted.scale:
        x = np.clip(np.rint(x / np.float32(wanted.scale)) + wanted.zero_point, -128, 127)
    if wanted.layout == "NHWC":
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x, wanted.type)


def _on_grid(output: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Rounded to int8."""
    scale, zero = np.float32(quantization[0]), quantization[1]
    kept = np.clip(np.rint(output / scale) + zero, -128, 127) - zero
    return (kept * scale).astype(np.float32)
