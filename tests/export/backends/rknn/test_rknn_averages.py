"""Averages with ``ceil_mode`` or uncounted padding: equal when written out, and needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.export.backends.rknn import target as rknn_target
from edgeark.export.graph.onnx_session import open_session
from edgeark.export.graph.written_averages import write_out_averages
from edgeark.export.lint import check
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from support.rknn_cases import SPEC, make_graph
from support.target_base import installed_target
from torch import Tensor, nn


@pytest.mark.parametrize("size", [(31, 33), (32, 40)])
@pytest.mark.parametrize(
    ("pool", "is_plain"),
    [
        (nn.AvgPool2d(3, 2, 0, True), False),
        (nn.AvgPool2d(2, 2, 0, True), False),
        (nn.AvgPool2d(3, 2, 1, True, False), False),
        (nn.AvgPool2d(3, 1, 1, False, False), False),
        (nn.AvgPool2d((3, 5), (2, 3), (1, 2), True), False),
        (nn.AvgPool2d(3, 2, 1), True),
        (nn.AvgPool2d(2), True),
    ],
)
def test_written_out_averages_are_equal(
    pool: nn.Module, is_plain: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 1), pool).eval()
    graph = make_graph(network, tmp_path, replace(SPEC, input_size=size))
    proto = write_out_averages(onnx.load(graph.onnx()))
    x = torch.randn(1, 3, *size)
    (answer,) = open_session(proto).run(None, {proto.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), network(x))
    assert not is_plain or "Pad" not in {node.op_type for node in proto.graph.node}


class Pools(nn.Module):
    """Of 16 channels: of 8 or 17 the toolkit computes all of them rightly."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.pools = nn.ModuleList(
            [
                nn.AvgPool2d(3, 2, ceil_mode=True),
                nn.AvgPool2d(3, 2, 1, ceil_mode=True),
                nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            ]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        return tuple(pool(x) for pool in self.pools)


class Volumes(nn.Module):
    """Of a depth, and adaptive pools whose windows differ in size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.pools = nn.ModuleList(
            [
                nn.AvgPool3d(3, 1, 1),
                nn.AvgPool3d(3, 2, 1, ceil_mode=True),
                nn.AvgPool3d(3, 1, 1, count_include_pad=False),
                nn.AdaptiveAvgPool3d((3, 5, 7)),
                nn.AdaptiveAvgPool3d((2, 4, 8)),
            ]
        )
        self.flat = nn.ModuleList([nn.AdaptiveAvgPool2d((5, 7)), nn.AdaptiveMaxPool2d(8)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        volume = x.unflatten(1, (4, 4))
        volumes = [pool(volume).flatten(1, 2) for pool in self.pools]
        return (*volumes, *(pool(x) for pool in self.flat))


def test_pools_of_volumes_and_adaptive_ones_stay_on_the_npu(tmp_path: Path) -> None:
    """On a chip that may refuse the CPU's operators, to which padding of both sides went."""
    target = installed_target("rknn:rv1106")
    torch.manual_seed(0)
    graph = make_graph(Volumes(), tmp_path, replace(SPEC, input_size=(32, 32)))
    rules = {finding.rule for finding in check(graph.network, target.rules(), "rknn:rv1106")}
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    log = tmp_path / "log.txt"
    artifact = target.convert(Conversion(graph, "int8", tmp_path, log, images))
    placement = target.placement(artifact)
    assert placement is not None
    assert not rules and {row["target"] for row in placement.layers} == {"NPU"}
    pairs = zip(graph.reference(images), target.run(artifact, images, log).outputs, strict=True)
    assert min(compare([wanted], [got]).sqnr_db for wanted, got in pairs) > 20


def test_the_toolkit_needs_them_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = installed_target("rknn:rk3588")
    torch.manual_seed(0)
    graph = make_graph(Pools(), tmp_path, replace(SPEC, input_size=(32, 32)))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    reference = graph.reference(images)

    def measure(name: str) -> tuple[list[float], set[str]]:
        folder = tmp_path / name
        folder.mkdir()
        artifact = target.convert(Conversion(graph, "float16", folder, folder / "log.txt"))
        outputs = target.run(artifact, images, folder / "log.txt").outputs
        placement = target.placement(artifact)
        assert placement is not None
        left = {row["op"] for row in placement.layers if row["target"] != "NPU"}
        pairs = zip(reference, outputs, strict=True)
        return [compare([wanted], [got]).sqnr_db for wanted, got in pairs], left

    right, left = measure("written out")
    assert min(right) > 40 and not left
    monkeypatch.setattr(rknn_target, "write_out_averages", lambda proto: proto)
    (ceiled, padded, uncounted), left = measure("plain")
    assert ceiled < 20 and padded < 20 and uncounted > 40
    assert left == {"AveragePool"}
