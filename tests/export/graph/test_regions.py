"""Rules see into wrapped regions, and not at what exporters fold; rewriting takes both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from edgeark.export.graph.network import Network, RandomNumbersError, capture_network
from edgeark.export.lint import check
from edgeark.export.rewrite import rewrite
from edgeark.export.targets import find_target, find_targets
from torch import Tensor, nn
from torch.nn import functional as f
from torch.utils.checkpoint import checkpoint

SHAPE = (1, 3, 8, 8)


class Calls(nn.Module):
    """``forward`` as a function of the module and its input; it has a parameter and a buffer."""

    def __init__(self, function: Callable[[Calls, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.register_buffer("mask", torch.zeros(8, 8, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.conv(x))


def without_gradient(_: Calls, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = f.mish(x)
        with torch.enable_grad():
            y = y + x.abs()
    return y * 2


def without_autocast(_: Calls, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        y = f.mish(x)
    return y


def in_a_checkpoint(_: Calls, x: Tensor) -> Tensor:
    return checkpoint(f.mish, x, use_reentrant=False)  # type: ignore[return-value]


def kinds(network: Network) -> list[str]:
    return [op.kind for op in network.ops]


@pytest.mark.parametrize("function", [without_gradient, without_autocast, in_a_checkpoint])
def test_rules_and_rewrites_look_into_regions(function: Callable[[Calls, Tensor], Tensor]) -> None:
    model = Calls(function).eval()
    network = capture_network(model, SHAPE)
    assert "mish" in kinds(network) and not any("wrap" in kind for kind in kinds(network))
    target = find_target("mnn")
    (finding,) = check(network, target.rules(), "mnn")
    assert finding.rule == "unknown-operator" and "test_regions.py" in finding.source
    done = rewrite(model, SHAPE, [target])
    assert done.changes and not done.left
    x = torch.randn(SHAPE)
    torch.testing.assert_close(done.model(x), model(x), rtol=1e-4, atol=1e-5)


def position(net: Calls, x: Tensor) -> Tensor:
    resized = f.interpolate(net.position, (8, 8), mode="bicubic")
    return x + f.max_pool2d(resized, 3, 1, 1, dilation=1)


def encoding(_: Calls, x: Tensor) -> Tensor:
    places = torch.arange(8.0)[None, None, None]
    return x * (places[..., 0::2].sin().repeat(1, 1, 1, 2) + 1)


def mask(net: Calls, x: Tensor) -> Tensor:
    return torch.where(~net.mask & True, x, x * 0.5)


@pytest.mark.parametrize("function", [position, encoding])
def test_what_is_computed_of_constants_is_a_constant(
    function: Callable[[Calls, Tensor], Tensor],
) -> None:
    network = capture_network(Calls(function).eval(), SHAPE)
    assert kinds(network)[0] == "conv2d" and kinds(network)[1] in ("add", "mul")
    for target in find_targets("mnn,opencv,opencv5,openvino,onnxruntime,ncnn"):
        assert check(network, target.rules(), target.full_name) == []


def test_a_folded_mask_keeps_its_values() -> None:
    network = capture_network(Calls(mask).eval(), SHAPE)
    (where,) = network.of_kind("where")
    assert bool(where.arguments["condition"].all())


def test_a_constant_that_is_written_over_is_no_activation() -> None:
    def holed(net: Calls, x: Tensor) -> Tensor:
        ones = torch.ones(1, 4, 8, 8)
        ones[..., 0] = 0
        return x * ones

    assert kinds(capture_network(Calls(holed).eval(), SHAPE)) == ["conv2d", "mul"]


def test_random_numbers_in_a_region_are_seen() -> None:
    def noisy(net: Calls, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x + torch.rand(1, 4, 8, 8)

    with pytest.raises(RandomNumbersError, match="rand draws random numbers"):
        capture_network(Calls(noisy).eval(), SHAPE)
