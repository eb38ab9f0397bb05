"""Small exports to run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from edgeark.export.graph.files import Graph
from edgeark.export.results.folder import write_golden
from edgeark.export.results.manifest import write_manifest
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Precision
from edgeark.zoo import spec_of
from torch import nn

from support.settled import make_images
from support.speaking import make_network


def export(
    name: str,
    folder: Path,
    target_name: str = "onnxruntime",
    precision: Precision = "float32",
    **arguments: Any,
) -> tuple[nn.Module, Path]:
    """A small untrained network, and the folder of its export."""
    model = make_network(name, **arguments)
    return model, export_network(model, name, folder, target_name, precision)


def export_network(
    model: nn.Module, name: str, folder: Path, target_name: str, precision: Precision = "float32"
) -> Path:
    """The folder of an export; its golden inputs are noise."""
    spec = spec_of(model)
    (out := folder / "export").mkdir()
    target, graph = find_target(target_name), Graph(model, spec, folder)
    shape = spec.input_shape[1:]
    calibration = make_images(8, shape, seed=1) if precision == "int8" else None
    artifact = target.convert(Conversion(graph, precision, out, out / "log.txt", calibration))
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    result, reference = target.run(artifact, images, out / "log.txt"), graph.reference(images)
    assert result is not None
    write_golden(out, images, result.outputs, reference)
    row = ExportResult(
        model=name,
        target=target_name,
        precision=precision,
        status="ok",
        evidence=target.evidence_of(artifact, result),
    )
    write_manifest(out, spec, target, artifact, reference, row)
    return out
