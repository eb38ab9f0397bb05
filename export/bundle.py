"""The folder of one export: artifact, ``manifest.json``, golden vectors, log; whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..training.data import Frame
from ..zoo.registry import ModelSpec
from ..zoo.tasks.letterbox import GREY
from .target import Artifact, Target, list_files

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
LOG = "log.txt"
GOLDEN_COUNT = 8


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden folder beside ``final``; it takes its place if the block ends without an error."""
    final.parent.mkdir(parents=True, exist_ok=True)
    staging, old = (final.with_name(f".{final.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        if final.exists():
            final.replace(old)
        staging.replace(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_golden(
    folder: Path,
    pictures: np.ndarray,
    outputs: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
) -> None:
    """Some real inputs with this artifact's own answers and PyTorch's, to check a board against."""
    answers = {f"output{i}": o[:GOLDEN_COUNT] for i, o in enumerate(outputs)}
    wanted = {f"pytorch{i}": o[:GOLDEN_COUNT] for i, o in enumerate(reference)}
    arrays = {"input": pictures[:GOLDEN_COUNT], **answers, **wanted}
    np.savez_compressed(folder / GOLDEN, allow_pickle=False, **arrays)


def write_manifest(
    folder: Path,
    model_name: str,
    spec: ModelSpec,
    target: Target,
    artifact: Artifact,
    outputs: Sequence[np.ndarray],
    results: dict[str, Any],
) -> None:
    """All that is needed to feed the artifact and to read its answer."""
    from .. import __version__

    layout = artifact.settings.get("layout", "NCHW")
    manifest = {
        "edgeark": __version__,
        "model": model_name,
        "task": spec.task,
        "target": artifact.target,
        "precision": artifact.precision,
        "toolchain": target.versions(),
        "files": [
            _describe(path, folder) for name in artifact.files for path in list_files(folder / name)
        ],
        "sources": list(artifact.sources),
        "input": {
            "shape": _shape(spec.input_shape, layout),
            "layout": layout,
            "color": spec.color,
            "range": [0, 255],
            "mean": list(spec.mean),
            "std": list(spec.std),
            "normalization": target.normalization,
            **_letterbox(spec),
        },
        "outputs": [{"shape": _shape((1, *o.shape[1:]), layout)} for o in outputs],
        "classes": list(spec.classes),
        **_places(spec),
        "settings": dict(artifact.settings),
        "golden": {
            "file": GOLDEN,
            "count": min(GOLDEN_COUNT, len(outputs[0])),
            "layout": "NCHW",
        },
        "license": spec.license,
        **results,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _shape(nchw: Sequence[int], layout: str) -> list[int]:
    """As the file has it: maps turn, what is no map stays."""
    if layout == "NHWC" and len(nchw) == 4:
        batch, channels, height, width = nchw
        return [batch, height, width, channels]
    return list(nchw)


def _letterbox(spec: ModelSpec) -> dict[str, Any]:
    """How a picture is put into a detector's input."""
    if spec.task != "detection":
        return {}
    return {"letterbox": {"grey": GREY, "centred": Frame.of(spec).centred}}


def _places(spec: ModelSpec) -> dict[str, Any]:
    """What a detector's maps are decoded by: input pixels per cell, anchors in input pixels."""
    return {"strides": list(spec.strides), "anchors": spec.anchors} if spec.strides else {}


def _describe(path: Path, folder: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "name": path.relative_to(folder).as_posix(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
