"""Adaptive pools of one to three axes, even and not: written as ONNX, and equal to PyTorch's."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from edgeark.export.graph.files import write_onnx
from edgeark.export.graph.onnx_session import open_session
from torch import Tensor, nn

SIZES = {
    1: ((1,), (8,), (7,)),
    2: ((1, 1), (7, 10), (5, 30)),
    3: ((1, 1, 1), (4, 8, 10), (3, 7, 5)),
}
MAPS = {1: (24,), 2: (24, 20), 3: (8, 24, 20)}


class Pools(nn.Module):
    """Every pool of so many axes, and where the maxima are."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        average, maximum = (getattr(nn, f"Adaptive{kind}Pool{dims}d") for kind in ("Avg", "Max"))
        self.averages = nn.ModuleList(average(size) for size in SIZES[dims])
        self.maxima = nn.ModuleList(maximum(size, return_indices=True) for size in SIZES[dims])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = [one for pool in self.maxima for one in pool(x)]
        return (*(pool(x) for pool in self.averages), *found)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("batch", [(1,), ()], ids=["batch", "one map"])
def test_adaptive_pools_are_written_and_equal(
    dims: int, batch: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, x = Pools(dims).eval(), torch.randn(*batch, 4, *MAPS[dims])
    write_onnx(network, [x], tmp_path / "pools.onnx", 18)
    proto = onnx.load(tmp_path / "pools.onnx")
    answers = open_session(proto).run(None, {"input": x.numpy()})
    for wanted, got in zip(network(x), answers, strict=True):
        torch.testing.assert_close(torch.from_numpy(got), wanted)
    assert len(proto.graph.node) < 40  # not a Gather and an Add for each pixel of a window
