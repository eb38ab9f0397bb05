"""RKNN's rules: each fires on a small network, not on its neighbour, and the toolkit shows why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.rknn import target as rknn_target
from edgeark.export.lint import capture_network, check
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from support.rknn_cases import SPEC, make_graph
from support.target_base import installed_target
from torch import Tensor, nn
from torch.nn.functional import interpolate

SIZE = (32, 32)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _resize(size: int, **options: object) -> nn.Module:
    return Function(lambda x: interpolate(x, (size, size), **options))  # type: ignore[arg-type]


# rule: what it fires on, and a neighbour; both read a map of 8 channels and 32x32 pixels
ON_CPU = {
    "align-corners": (
        _resize(64, mode="bilinear", align_corners=True),
        _resize(64, mode="bilinear"),
    ),
    "broken-resize": (_resize(50, mode="bilinear"), _resize(50, mode="nearest")),
    "strided-slice": (Function(lambda x: x[..., ::2, :]), Function(lambda x: x[..., 2:30, :])),
    "host-operator": (Function(lambda x: x.argmax(1)), Function(lambda x: x.softmax(1))),
}
ON_MINI_CPU = {**ON_CPU, "norm": (nn.GroupNorm(2, 8), nn.BatchNorm2d(8))}
ON_LARGE_CPU = {
    **ON_CPU,
    "flat-output": (nn.Sequential(nn.AvgPool2d(32), nn.Flatten()), nn.AvgPool2d(32)),
}
POOLS = {
    "pool-stride": (nn.AvgPool2d(11), nn.AvgPool2d(10)),
    "global-max-pool": (nn.MaxPool2d(46, 1, 23), nn.MaxPool2d(47, 1, 23)),  # the second is split
}
CRASHES = {"bicubic": (_resize(64, mode="bicubic"), _resize(64, mode="bilinear"))}


class Decoded(nn.Module):
    """Boxes in pixels and scores, joined in one tensor or not."""

    def __init__(self, joined: bool) -> None:
        super().__init__()
        self.boxes = nn.Conv2d(8, 4, 1)
        self.scores = nn.Conv2d(8, 3, 1)
        self.joined = joined

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        boxes, scores = self.boxes(x).sigmoid() * 320, self.scores(x).sigmoid()
        return torch.cat((boxes, scores), 1) if self.joined else (boxes, scores)


def network_of(case: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), case)


CASES = {
    **ON_MINI_CPU,
    **ON_LARGE_CPU,
    **POOLS,
    **CRASHES,
    "joined-outputs": (Decoded(True), Decoded(False)),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_case_alone(rule: str) -> None:
    found = []
    for case in CASES[rule]:
        network = capture_network(network_of(case), (1, 3, *SIZE))
        for chip in ("rv1106", "rk3588"):
            target = find_target(f"rknn:{chip}")
            found.append(check(network, target.rules(), target.full_name))
    mini, large, mini_good, large_good = found
    assert [f.rule for f in mini] == ([] if rule == "flat-output" else [rule])
    assert [f.rule for f in large] == ([] if rule == "norm" else [rule])
    assert mini_good == large_good == []
    if rule in ON_CPU:
        assert (mini[0].severity, large[0].severity) == ("error", "warning")
    if rule == "norm":
        assert mini[0].severity == "error"


class Branches(nn.Module):
    """Every case on a map of its own."""

    def __init__(self, cases: dict[str, tuple[nn.Module, nn.Module]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bad = nn.ModuleDict({name: bad for name, (bad, _) in cases.items()})
        self.good = nn.ModuleDict({name: good for name, (_, good) in cases.items()})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x).relu()
        return tuple(case(x) for cases in (self.bad, self.good) for case in cases.values())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    installed_target("rknn:rk3588")
    return np.random.default_rng(0).integers(0, 256, (4, 3, *SIZE), dtype=np.uint8)


@pytest.mark.parametrize(("chip", "cases"), [("rk3588", ON_LARGE_CPU), ("rv1106", ON_MINI_CPU)])
def test_the_toolkit_puts_them_on_the_cpu(
    chip: str,
    cases: dict[str, tuple[nn.Module, nn.Module]],
    images: np.ndarray,
    tmp_path: Path,
) -> None:
    """And their neighbours on the NPU."""
    torch.manual_seed(0)
    graph = make_graph(Branches(cases), tmp_path, replace(SPEC, input_size=SIZE))
    target = find_target(f"rknn:{chip}")
    artifact = target.convert(Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images))
    placement = target.placement(artifact)
    assert placement is not None
    modules = {row["module"] for row in placement.layers if row["target"] != "NPU"}
    found = {".".join(name.split(".")[:2]) for name in modules}
    assert {name for name in found if name.startswith(("bad.", "good."))} == {
        f"bad.{rule}" for rule in cases
    }


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


class Transposed(nn.Module):
    """A large map and a small one, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.large = Function(lambda x: x.permute(0, 2, 3, 1))
        self.small = Function(lambda x: x.permute(0, 2, 3, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        return self.large(x), self.small(x[..., 8:40, 8:40])


def test_a_large_transpose_falls_to_the_cpu(tmp_path: Path) -> None:
    spec = replace(SPEC, input_size=(96, 96))
    torch.manual_seed(0)
    graph = make_graph(Transposed(), tmp_path, spec)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 96), dtype=np.uint8)
    for chip in ("rk3566", "rv1106"):
        installed_target(f"rknn:{chip}")
        target, folder = find_target(f"rknn:{chip}"), tmp_path / chip
        (finding,) = check(graph.network, target.rules(), chip)
        assert (finding.rule, finding.module) == ("large-transpose", "large")
        folder.mkdir()
        artifact = target.convert(Conversion(graph, "int8", folder, folder / "log.txt", images))
        placement = target.placement(artifact)
        assert placement is not None
        on_cpu = [row["module"] for row in placement.layers if row["target"] != "NPU"]
        assert on_cpu == ["large"]
