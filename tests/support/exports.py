"""Small exports to run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgeark.export.graph.files import Graph
from edgeark.export.results.folder import write_golden
from edgeark.export.results.manifest import write_manifest
from edgeark.export.results.schema import ExportResult
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.zoo import spec_of
from torch import nn

from support.speaking import make_network


def export(name: str, folder: Path) -> tuple[nn.Module, Path]:
    """A small untrained network, and the folder of its export."""
    model = make_network(name)
    spec = spec_of(model)
    (out := folder / "export").mkdir()
    target, graph = find_target("onnxruntime"), Graph(model, spec, folder)
    artifact = target.convert(Conversion(graph, "float32", out, out / "log.txt"))
    images = np.random.default_rng(0).integers(0, 256, (2, *spec.input_shape[1:]), np.uint8)
    result, reference = target.run(artifact, images, out / "log.txt"), graph.reference(images)
    assert result is not None
    write_golden(out, images, result.outputs, reference)
    row = ExportResult(model=name, target="onnxruntime", precision="float32", status="ok")
    write_manifest(out, spec, target, artifact, reference, row)
    return model, out
