"""rknn-toolkit2 on the examples of its rules: what it puts on the CPU, or computes wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from edgeark.export.backends.rknn import target as rknn_target
from edgeark.export.backends.rknn.examples import EXAMPLES, Decoded
from edgeark.export.lint import Example, check
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Precision
from edgeark.export.targets.isolated import WorkerTarget
from support.rknn_cases import SPEC, make_graph
from support.target_base import installed_target
from support.tries import try_networks
from torch import Tensor, nn

SIZE = (32, 32)


def network_of(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), layer)


class Branches(nn.Module):
    """Both networks of every example."""

    def __init__(self, examples: Sequence[Example]) -> None:
        super().__init__()
        self.bad = nn.ModuleList(example.network("bad") for example in examples)
        self.good = nn.ModuleList(example.network("good") for example in examples)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(x) for network in (*self.bad, *self.good))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    installed_target("rknn:rk3588")
    return np.random.default_rng(0).integers(0, 256, (4, 3, *SIZE), dtype=np.uint8)


@pytest.mark.parametrize("chip", ["rk3588", "rv1106", "rk3566"])
def test_the_toolkit_puts_bad_examples_on_the_cpu(chip: str, tmp_path: Path) -> None:
    """And the good ones on the NPU. Small maps are in one network, the large ones in another."""
    target = installed_target(f"rknn:{chip}")
    mine = [e for e in EXAMPLES if e.cpu_ops and (not e.chips or chip in e.chips)]
    kinds = dict.fromkeys((example.shape, example.precision) for example in mine)
    for index, (shape, precision) in enumerate(kinds):
        examples = [each for each in mine if (each.shape, each.precision) == (shape, precision)]
        folder = tmp_path / str(index)
        folder.mkdir()
        graph = make_graph(Branches(examples), folder, replace(SPEC, input_size=shape[1:]))
        images = np.random.default_rng(0).integers(0, 256, (2, 3, *shape[1:]), dtype=np.uint8)
        calibration = images if precision == "int8" else None
        job = Conversion(graph, precision, folder, folder / "log.txt", calibration)
        artifact = target.convert(job)
        placement = target.placement(artifact)
        assert placement is not None
        left = [row for row in placement.layers if row["target"] != "NPU"]
        found = {(".".join(row["module"].split(".")[:2]), row["op"]) for row in left}
        wanted = {(f"bad.{i}", example.cpu_ops[0]) for i, example in enumerate(examples)}
        assert found >= wanted
        assert {module for module, _ in found} == {module for module, _ in wanted}


KILLING = (
    *("max-unpool", "negative-padding", "places-of-a-mean", "pool-of-volumes"),
    "resize-of-volumes",
)


def test_the_toolkit_dies_of_what_the_rules_refuse(tmp_path: Path) -> None:
    """On a mini chip, whose compiler dies of outputs of six axes as well."""
    target = installed_target("rknn:rv1106")
    assert isinstance(target, WorkerTarget)
    mine = [e for e in EXAMPLES if e.rule in (*KILLING, "output-of-six-axes")]
    networks = [
        (example.network(which), replace(SPEC, input_size=example.input_shape(which)[2:]))
        for example in mine
        for which in ("bad", "good")
    ]
    tried = try_networks(target, networks, tmp_path, precision="int8", runs=False)
    assert [bool(each.error) for each in tried] == [True, False] * len(mine)


class Head(nn.Module):
    """A detector's: anchors and channels of one convolution, in one of three orders."""

    def __init__(self, anchors: int, channels: int, order: str) -> None:
        super().__init__()
        self.conv, self.channels, self.order = nn.Conv2d(8, anchors * channels, 1), channels, order

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.order == "flat":
            return x.flatten(1)
        if self.order == "ssd":
            return x.permute(0, 2, 3, 1).reshape(1, -1, self.channels)
        x = x.view(1, -1, self.channels, *x.shape[2:])
        return x.permute(0, 3, 4, 1, 2).reshape(1, -1, self.channels)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        sizes = ((1, 4), (3, 4), (6, 4), (3, 16), (6, 21), (6, 20))
        orders = ("flat", "ssd", "retina")
        self.heads = nn.ModuleList(Head(*size, order) for size in sizes for order in orders)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(head(self.stem(x)) for head in self.heads)


@pytest.mark.parametrize(("precision", "size"), [("float16", (5, 5)), ("int8", (4, 6))])
def test_flat_outputs_are_on_the_cpu_where_the_rules_say_so(
    precision: Precision, size: tuple[int, int], tmp_path: Path
) -> None:
    target = installed_target("rknn:rk3588")
    spec = replace(SPEC, input_size=size)
    graph = make_graph(Detector(), tmp_path, spec)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    calibration = images if precision == "int8" else None
    log = tmp_path / "log.txt"
    artifact = target.convert(Conversion(graph, precision, tmp_path, log, calibration))
    placement = target.placement(artifact)
    assert placement is not None
    rules = [rule for rule in target.rules() if rule.falls_back and rule.holds_in(precision)]
    found = {finding.module for finding in check(graph.network, rules, target.full_name)}
    on_cpu = {row["module"] for row in placement.layers if row["target"] != "NPU"}
    assert found == on_cpu and 0 < len(found) < 18


def test_a_rule_of_the_toolkit_that_dies_is_left_out(tmp_path: Path) -> None:
    """Its optimiser reads what is not there in LeViT's attention, and says which rule it was."""
    target, log = installed_target("rknn:rk3588"), tmp_path / "log.txt"
    model = timm.create_model("levit_128s", img_size=64, num_classes=8)
    graph = make_graph(model, tmp_path, replace(SPEC, input_size=(64, 64)))
    artifact = target.convert(Conversion(graph, "float16", tmp_path, log))
    assert artifact.settings["disabled_rules"] == ["fuse_conv_conv_add"]
    placement = target.placement(artifact)
    assert placement is not None and placement.npu_mac_fraction == 1.0


def test_the_toolkit_misreads_max_pools_and_the_cascade_mends_them(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An odd kernel over a small map, an even one, which is not fixed, and a harmless one."""
    torch.manual_seed(0)
    pools = [nn.MaxPool2d(13, 1, 6), nn.MaxPool2d(12, 1, 6), nn.MaxPool2d(5, 1, 2)]

    class Pools(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, 4)
            self.pools = nn.ModuleList(pools)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            x = self.stem(x)
            return tuple(pool(x) for pool in self.pools)

    graph = make_graph(Pools(), tmp_path, replace(SPEC, input_size=SIZE))
    reference, target = graph.reference(images), find_target("rknn:rk3588")

    def fidelity(name: str) -> list[float]:
        folder = tmp_path / name
        folder.mkdir()
        artifact = target.convert(Conversion(graph, "float16", folder, folder / "log.txt"))
        outputs = target.run(artifact, images, folder / "log.txt").outputs
        return [
            compare([wanted], [got]).sqnr_db for wanted, got in zip(reference, outputs, strict=True)
        ]

    odd, even, harmless = fidelity("fixed")
    assert odd > 40 and harmless > 40 and even < 20
    monkeypatch.setattr(rknn_target, "split_misread_pools", lambda proto: proto)
    odd, even, harmless = fidelity("plain")
    assert odd < 20 and even < 20 and harmless > 40


@pytest.mark.parametrize(("stride", "overflows"), [(10, False), (11, True)])
def test_an_odd_pool_stride_over_7_has_no_register(
    stride: int, overflows: bool, tmp_path: Path, images: np.ndarray
) -> None:
    """The toolkit says so and returns 0; the simulator knows no registers."""
    graph = make_graph(network_of(nn.AvgPool2d(stride)), tmp_path, replace(SPEC, input_size=SIZE))
    log = tmp_path / "log.txt"
    artifact = find_target("rknn:rk3588").convert(Conversion(graph, "float16", tmp_path, log))
    assert ("REGTASK" in log.read_text(errors="replace")) is overflows
    found = [
        diagnostic for diagnostic in artifact.diagnostics if "NPU's registers" in diagnostic.words
    ]
    assert len(found) == int(overflows) and not any(diagnostic.fatal for diagnostic in found)


def test_the_toolkit_leaves_scores_a_few_steps_beside_boxes(
    images: np.ndarray, tmp_path: Path
) -> None:
    steps = []
    for joined in (True, False):
        folder = tmp_path / str(joined)
        folder.mkdir()
        graph = make_graph(network_of(Decoded(joined)), folder, replace(SPEC, input_size=SIZE))
        target, log = find_target("rknn:rk3588"), folder / "log.txt"
        artifact = target.convert(Conversion(graph, "int8", folder, log, images))
        scores = target.run(artifact, images, log).outputs[-1][:, -3:]
        steps.append(len(np.unique(scores)))
    assert steps[0] < 8
    assert steps[1] > 32
