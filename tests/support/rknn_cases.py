"""What the tests of the RKNN targets share: a spec for small networks, and their graphs."""

from __future__ import annotations

from pathlib import Path

from edgeark.export.graph.files import Graph
from edgeark.zoo.spec import ModelSpec
from torch import nn

SPEC = ModelSpec(
    task="segmentation",
    input_size=(16, 24),
    color="rgb",
    mean=(20.0, 120.0, 200.0),
    std=(10.0, 60.0, 250.0),
    classes=("a", "b"),
    dataset="none",
    description="",
    reference="",
)


def make_graph(model: nn.Module, folder: Path, spec: ModelSpec = SPEC) -> Graph:
    """A graph whose files go into a new folder in ``folder``."""
    (folder / "graph").mkdir()
    return Graph(model, spec, folder / "graph")
