"""A task is one class: keypoints, defined here, goes all the way from an image to the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.pipeline import export_all
from edgeark.export.prepare import EvalContext
from edgeark.export.report import write_report
from edgeark.export.run import answer_image
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Limits
from edgeark.export.tasks import (
    Answer,
    ModelInput,
    Sample,
    Task,
    base,
    get_task,
    list_tasks,
    register_task,
)
from edgeark.export.tasks.drawing import image_uri
from edgeark.training.data import ImageSet
from edgeark.zoo.spec import ModelSpec
from PIL import Image
from torch import nn

SIDE = 16
SPEC = ModelSpec(
    task="keypoints",
    input_size=(SIDE, SIDE),
    color="gray",
    mean=(0.0,),
    std=(255.0,),
    classes=("tip",),
    dataset="dots",
    description="finds a bright dot",
    reference="none",
)


class Keypoints(Task):
    """The brightest place of each heat map ``[N, points, h, w]``; ``pck`` counts the close ones."""

    name = "keypoints"
    metric_title = "PCK"
    resize = "letterbox"
    samples_caption = "The first images, and where every place sees the points."

    def points(self, heat: np.ndarray) -> np.ndarray:
        """Centres x, y of the maxima in input pixels: ``[N, points, 2]``."""
        best = heat.reshape(*heat.shape[:2], -1).argmax(axis=2)
        return np.stack([best % heat.shape[3], best // heat.shape[3]], axis=2) + 0.5

    def postprocess(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], model_input: ModelInput
    ) -> dict[str, Any]:
        assert model_input.mapping is not None
        found = self.points(outputs[0])[0]
        mapped = model_input.mapping.to_image(np.tile(found, 2))[:, :2]
        return {"keypoints": dict(zip(spec.classes, mapped.tolist(), strict=True))}

    def figures(
        self, spec: ModelSpec, outputs: Sequence[np.ndarray], test: ImageSet
    ) -> dict[str, float]:
        distance = np.linalg.norm(self.points(outputs[0]) - test.labels, axis=2)
        return {"pck": float((distance < 1).mean()), "pck_4px": float((distance < 4).mean())}

    def choose_samples(self, spec, test, reference, answered):
        shown = [Sample(i, image_uri(test.images[i], spec.color), "tip") for i in range(3)]

        def answers(outputs: Sequence[np.ndarray]) -> list[Answer]:
            return [Answer(f"x {x:.1f} y {y:.1f}") for x, y in self.points(outputs[0])[:3, 0]]

        return shown, answers


@pytest.fixture
def keypoints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(base, "_TASKS", dict(base._TASKS))
    register_task(Keypoints)
    yield


def make_dots(count: int) -> ImageSet:
    """Black images with a bright pixel; the label is its centre."""
    rng = np.random.default_rng(0)
    xy = rng.integers(1, SIDE - 1, (count, 2))
    images = np.zeros((count, 1, SIDE, SIDE), np.uint8)
    images[np.arange(count), 0, xy[:, 1], xy[:, 0]] = 255
    return ImageSet("dots", "test", images, xy[:, None] + 0.5, ("tip",))


def make_context(folder: Path) -> EvalContext:
    network = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        network.weight[:] = torch.tensor([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]])
    test = make_dots(12)
    graph = Graph(network.eval(), SPEC, folder)
    reference = graph.reference(test.images)
    return EvalContext("dot_net", SPEC, graph, test, reference, lambda: test)


def test_a_new_task_goes_from_the_image_to_the_report(keypoints: None, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    rows = export_all(context, [find_target("onnxruntime")], tmp_path / "out")
    (row,) = rows
    assert row.status == "ok" and row.metric is not None, row.message
    assert (row.metric.name, row.metric.float, row.metric.value) == ("pck", 1.0, 1.0)
    assert (row.metric.n, list(row.metric.details)) == (12, ["pck_4px"])

    pixels = np.zeros((2 * SIDE, 4 * SIDE), np.uint8)  # four times as wide as the input
    pixels[8:12, 20:24] = 255
    Image.fromarray(pixels).save(tmp_path / "dot.png")
    assert row.artifact is not None
    answer = answer_image(str(row.artifact.parent), tmp_path / "dot.png")
    assert answer.meaning == {"keypoints": {"tip": [22.0, 10.0]}}

    write_report([(context, rows)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    x, y = context.test.labels[0, 0]
    assert page.count(f"x {x:.1f} y {y:.1f}</span>") == 2  # PyTorch's and the target's
    assert Keypoints.samples_caption in page and "PCK<br>PyTorch" in page


def test_a_task_decides_how_far_its_metric_may_drop(
    keypoints: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = find_target("onnxruntime")
    run = target.run

    def worse(artifact, images, log):
        result = run(artifact, images, log)
        result.outputs[0][0] = result.outputs[0][1]  # 1 of 12 points is another image's
        return result

    monkeypatch.setattr(target, "run", worse)
    monkeypatch.setattr(target, "limits", lambda _: Limits(metric_drop=0.05))
    context = make_context(tmp_path)
    (row,) = export_all(context, [target], tmp_path / "out")
    assert row.status == "ok", "8.3 points are within twice 5"
    monkeypatch.setattr(Keypoints, "metric_drop_factor", 1.0)
    (row,) = export_all(context, [target], tmp_path / "out")
    assert row.status == "failed" and "pck 8.33 points below PyTorch" in row.message


def test_an_unknown_task_names_those_that_are_there() -> None:
    assert list_tasks() == ["classification", "detection", "raw", "segmentation"]
    with pytest.raises(EdgearkError, match="unknown task 'keypoints'; there are classification, "):
        get_task("keypoints")
