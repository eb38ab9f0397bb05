"""ncnn beyond the base tester: the zoo, the files, and what pnnx and ncnn cannot do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.ncnn.rules import RULES
from edgeark.export.graph.files import Graph
from edgeark.export.lint import capture_network, check
from edgeark.export.pipeline import announce_float_only
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, Evidence, Precision
from edgeark.export.toolchains import ToolchainError
from edgeark.zoo import create_model, model_entry, spec_of
from support.target_base import TargetTester, installed_target
from support.zoo_cases import create_small, one_per_family, ready
from torch import Tensor, nn
from torch.nn import functional as f

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


Function = Callable[[Tensor], Tensor]


class Calls(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def focus(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2]], 1)


# A rule, a network where it fires, one where it does not
CASES: list[tuple[str, Function, Function]] = [
    ("strided-slice", focus, lambda x: x[..., 2:10, 3:9]),
    ("unknown-operator", lambda x: x.argmax(1), lambda x: x.amax(1)),
    ("unknown-operator", lambda x: torch.where(x > 0, x, 0.1 * x), f.leaky_relu),
    ("unknown-operator", lambda x: x[:, [3, 1]], lambda x: x[:, 1:3]),
    ("unknown-operator", lambda x: x.var((2, 3)), lambda x: x.mean((2, 3))),
    ("unknown-operator", nn.ChannelShuffle(2), nn.PixelShuffle(2)),
    (
        "unknown-operator",
        lambda x: f.interpolate(x, size=(20, 23), mode="nearest-exact"),
        lambda x: f.interpolate(x, size=(20, 23)),
    ),
    (
        "dilated-pool",
        lambda x: f.max_pool2d(x, 2, 1, dilation=2),
        lambda x: f.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    (
        "average-ceil-mode",
        lambda x: f.avg_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    (
        "circular-padding",
        lambda x: f.pad(x, (1, 2, 3, 1), mode="circular"),
        lambda x: f.pad(x, (1, 2, 3, 1), mode="reflect"),
    ),
    (
        "nearest-rounding",
        lambda x: f.interpolate(x, scale_factor=1.7),
        lambda x: f.interpolate(x, scale_factor=0.6),
    ),
    ("layer-norm-of-maps", nn.LayerNorm([8, 16, 16]), nn.LayerNorm(16)),
    ("pool-without-stride", lambda x: f.avg_pool2d(x, 4), nn.AvgPool2d(4)),
    ("pool-without-stride", lambda x: f.max_pool2d(x, 4), lambda x: f.max_pool2d(x, 4, 4)),
    ("output-without-batch", lambda x: x.view(-1), lambda x: x.flatten(1)),
    (
        "output-without-batch",
        nn.Sequential(nn.AvgPool2d(16), Calls(torch.squeeze)),
        nn.Sequential(nn.AvgPool2d(16), Calls(lambda x: x.squeeze(3).squeeze(2))),
    ),
]


@pytest.mark.parametrize(("rule", "bad", "good"), CASES)
def test_a_rule_fires_where_ncnn_fails(
    rule: str, bad: Function, good: Function, tmp_path: Path
) -> None:
    """The toolchain refuses the network, or computes something else; its neighbour is right."""
    target = installed_target("ncnn")
    torch.manual_seed(0)
    images = make_images(1, (3, 16, 16))
    for function, is_bad in ((bad, True), (good, False)):
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Calls(function))
        found = check(capture_network(model, (1, 3, 16, 16)), target.rules(), "ncnn")
        assert (rule in {finding.rule for finding in found}) is is_bad
        folder = tmp_path / str(is_bad)
        folder.mkdir()
        graph = Graph(model, SPEC, folder)
        wanted = graph.reference(images)
        try:
            (answer,) = target.run(convert(graph, folder), images, folder / "log.txt").outputs
        except ToolchainError as error:
            assert is_bad and "convert failed" in str(error)
            continue
        is_right = answer.shape == wanted[0].shape and np.abs(answer - wanted[0]).max() < 1e-3
        assert is_right is not is_bad


def test_every_rule_is_tried() -> None:
    assert {rule.name for rule in RULES} == {case[0] for case in CASES}


def test_a_focus_stem_is_refused_and_its_fold_is_not(tmp_path: Path) -> None:
    target = find_target("ncnn")
    found = {}
    for stem in ("focus", "6x6"):
        model = create_model("yolov5n", stem=stem, input_size=(64, 64), width=0.125)
        network = capture_network(model, spec_of(model).input_shape)
        found[stem] = {finding.rule for finding in check(network, target.rules(), "ncnn")}
    assert found == {"focus": {"strided-slice"}, "6x6": set()}
