"""Stand-ins for what the demo and its report are given: no toolchain is needed."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from edgeark.export.graph.files import Graph
from edgeark.export.prepare import EvalContext
from edgeark.export.targets.base import Artifact, Conversion, Evidence, RunResult, Target
from edgeark.export.toolchains import ToolchainError
from edgeark.training.data import ImageSet
from edgeark.zoo.spec import ModelSpec

CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0, 1, 2, 0, 1, 2])
SPEC = ModelSpec(
    task="classification",
    input_size=(4, 5),
    color="rgb",
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    classes=CLASSES,
    dataset="insects",
    description="a network & its <friends>",
    reference="none",
)


class FakeTarget(Target):
    """Answers what PyTorch answers, without any toolchain."""

    name = "good"
    description = "a fake"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "host"

    def versions(self) -> dict[str, str]:
        return {"fake-runtime": "9.8.7"}

    def convert(self, job: Conversion) -> Artifact:
        self.graph = job.graph
        (job.out / "model.bin").write_bytes(b"model")
        return Artifact(self.full_name, job.precision, job.out, ("model.bin",))

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult:
        return RunResult(self.graph.reference(images), 0.5)


class BrokenTarget(FakeTarget):
    name = "bad"
    precisions = ("float32",)

    def convert(self, job: Conversion) -> Artifact:
        raise ToolchainError("the converter gave up", stage="convert", log=job.log)


def logits(predictions: list[int], high: float = 4.0) -> np.ndarray:
    """Raw outputs ``[N, 3, 1, 1]`` whose best classes are ``predictions``."""
    return (high * np.eye(3, dtype=np.float32)[predictions])[..., None, None]


def make_subject(name: str = "zoo_net", graph: Graph | None = None) -> EvalContext:
    images = np.arange(6 * 3 * 4 * 5, dtype=np.uint8).reshape(6, 3, 4, 5)
    test = ImageSet("insects", "test", images, LABELS)
    reference = [logits([0, 1, 2, 0, 1, 0])] if graph is None else graph.reference(images)
    return EvalContext(name, SPEC, graph, test, reference, lambda: test)  # type: ignore[arg-type]


MASK_SPEC = replace(SPEC, task="segmentation", input_size=(8, 8), classes=("dent",))


def make_mask_subject() -> EvalContext:
    """Six images, four with a mark; PyTorch finds all of the first marks, and nothing later."""
    images = np.arange(6 * 3 * 8 * 8, dtype=np.uint16).astype(np.uint8).reshape(6, 3, 8, 8)
    wanted = np.zeros((6, 8, 8), np.uint8)
    wanted[:4, 2:6, 2:6] = 1
    test = ImageSet("plates", "test", images, wanted, MASK_SPEC.classes)
    reference = 8.0 * wanted[:, None].astype(np.float32) - 4
    reference[2:] = -4
    return EvalContext("zoo_net", MASK_SPEC, None, test, [reference], lambda: test)  # type: ignore[arg-type]


class Tables(HTMLParser):
    """The text of every table's cells, and every start tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] = " ".join(f"{self.tables[-1][-1][-1]} {data}".split())
