"""ncnn beyond the base tester: the zoo, the files, and what pnnx and ncnn cannot do."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.lint import capture_network, check
from edgeark.export.pipeline import announce_float_only
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, Evidence, Precision
from edgeark.zoo import create_model, model_entry, spec_of
from support.target_base import TargetTester, installed_target
from support.zoo_cases import create_small, one_per_family, ready
from torch import Tensor, nn

SPEC = replace(
    model_entry("mnist").spec,
    input_size=(16, 16),
    color="rgb",
    mean=(123.7, 16.3, 203.5),
    std=(58.4, 27.1, 99.4),
)


class TestNcnn(TargetTester):
    target = "ncnn"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "float16")


def make_images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def convert(graph: Graph, folder: Path, precision: Precision = "float32") -> Artifact:
    out = folder / precision
    out.mkdir()
    return find_target("ncnn").convert(Conversion(graph, precision, out, folder / "log.txt"))


@pytest.mark.parametrize("name", one_per_family())
def test_the_zoo_converts_and_agrees(name: str, tmp_path: Path) -> None:
    """Weights are random: float32 is held against the size of the answers."""
    target = installed_target("ncnn")
    model = create_small(name)
    spec = spec_of(model)
    graph = Graph(ready(model, *spec.input_shape[1:]), spec, tmp_path)
    assert check(graph.network, target.rules(), "ncnn") == []
    artifact = convert(graph, tmp_path)
    images = make_images(2, spec.input_shape[1:])
    result = target.run(artifact, images, tmp_path / "log.txt")
    wanted = graph.reference(images)
    assert [o.shape for o in result.outputs] == [o.shape for o in wanted]
    for got, reference in zip(result.outputs, wanted, strict=True):
        np.testing.assert_allclose(got, reference, atol=1e-4 * max(1, np.abs(reference).max()))


def test_two_files_and_what_feeds_them(tmp_path: Path) -> None:
    """pnnx drops six more files, and a working directory that it shares is none."""
    installed_target("ncnn")
    model = create_model("yolox_nano", input_size=(64, 96), width=0.125)
    graph = Graph(model, spec_of(model), tmp_path)
    artifact, half = convert(graph, tmp_path), convert(graph, tmp_path, "float16")
    assert artifact.files == ("model.ncnn.param", "model.ncnn.bin")
    assert sorted(path.name for path in artifact.folder.iterdir()) == sorted(artifact.files)
    sizes = [a.folder.joinpath("model.ncnn.bin").stat().st_size for a in (artifact, half)]
    assert 0.5 * sizes[0] <= sizes[1] < 0.52 * sizes[0]
    settings = json.loads(json.dumps(artifact.settings))
    assert settings["input"] == "in0" and settings["outputs"] == [f"out{i}" for i in range(9)]
    assert settings["pixel_type"] == "PIXEL_RGB"  # pixels are in the network's order already
    assert settings["mean_vals"] == list(model.spec.mean)
    assert settings["norm_vals"] == [1 / value for value in model.spec.std]
    text = artifact.path.read_text()
    assert text.startswith("7767517\n") and str(tmp_path) not in text


def test_outputs_are_in_the_networks_order(tmp_path: Path) -> None:
    """ncnn lists them as they are computed."""
    target = installed_target("ncnn")

    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(11)])

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            answers = []
            for conv in self.convs:
                x = conv(x)
                answers.append(x)
            return tuple(reversed(answers))

    graph = Graph(Reversed(), SPEC, tmp_path)
    images = make_images(2, (3, 16, 16))
    result = target.run(convert(graph, tmp_path), images, tmp_path / "log.txt")
    assert compare(graph.reference(images), result.outputs).max_abs_error < 1e-4


def test_it_says_why_there_is_no_int8(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgeark"):
        announce_float_only([find_target("ncnn"), find_target("mnn"), find_target("opencv")])
    words = [record.getMessage() for record in caplog.records]
    assert words == [
        "no int8 on ncnn (ncnn2table and ncnn2int8, which make it, are in no wheel): float only",
        "no int8 on opencv: float only",
    ]


def test_a_focus_stem_is_refused_and_its_fold_is_not(tmp_path: Path) -> None:
    target = find_target("ncnn")
    found = {}
    for stem in ("focus", "6x6"):
        model = create_model("yolov5n", stem=stem, input_size=(64, 64), width=0.125)
        network = capture_network(model, spec_of(model).input_shape)
        found[stem] = {finding.rule for finding in check(network, target.rules(), "ncnn")}
    assert found == {"focus": {"strided-slice"}, "6x6": set()}
