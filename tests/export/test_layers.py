"""The export-safe layers equal what they replace."""

from __future__ import annotations

import pytest
import torch
from edgeark.errors import ModelError
from edgeark.zoo.layers import (
    ConvBnAct,
    ConvHead,
    FixedAvgPool,
    FixedUpsample,
    Interpolation,
    make_act,
)
from hypothesis import given, settings
from hypothesis import strategies as st

side = st.integers(1, 6)


@settings(max_examples=30)
@given(c=st.integers(1, 9), h=side, w=side, out=st.integers(1, 12), bias=st.booleans())
def test_conv_head_equals_the_linear_layer(c: int, h: int, w: int, out: int, bias: bool) -> None:
    linear = torch.nn.Linear(c * h * w, out, bias=bias).double()
    head = ConvHead.from_linear(linear, (c, h, w))
    features = torch.randn(2, c, h, w, dtype=torch.float64)
    answer = head(features)
    assert answer.shape == (2, out, 1, 1)
    torch.testing.assert_close(answer.flatten(1), linear(features.flatten(1)))


def test_conv_head_refuses_a_map_of_another_size() -> None:
    with pytest.raises(ValueError, match="12 inputs, a 3x2x3 map has 18"):
        ConvHead.from_linear(torch.nn.Linear(12, 2), (3, 2, 3))


@settings(max_examples=20)
@given(c=st.integers(1, 5), h=side, w=side)
def test_fixed_pool_equals_adaptive_pool(c: int, h: int, w: int) -> None:
    x = torch.randn(2, c, h, w)
    wanted = torch.nn.functional.adaptive_avg_pool2d(x, 1)
    torch.testing.assert_close(FixedAvgPool((h, w))(x), wanted)


def test_fixed_pool_refuses_a_larger_map() -> None:
    with pytest.raises(ValueError, match=r"built for a \(4, 4\) map, got \(5, 4\)"):
        FixedAvgPool((4, 4))(torch.zeros(1, 1, 5, 4))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bilinear_ac"])
def test_fixed_upsample_equals_upsample_to_a_size(mode: Interpolation) -> None:
    x = torch.randn(2, 3, 5, 7)
    options = {} if mode == "nearest" else {"align_corners": mode == "bilinear_ac"}
    wanted = torch.nn.functional.interpolate(x, (10, 14), mode=mode.removesuffix("_ac"), **options)
    assert torch.equal(FixedUpsample((5, 7), mode)(x), wanted)


def test_fixed_upsample_refuses_what_it_was_not_built_for() -> None:
    with pytest.raises(ValueError, match=r"built for a \(4, 4\) map, got \(5, 4\)"):
        FixedUpsample((4, 4)).eval()(torch.zeros(1, 1, 5, 4))
    with pytest.raises(ModelError, match="unknown interpolation 'cubic'"):
        FixedUpsample((4, 4), "cubic")  # type: ignore[arg-type]


@settings(max_examples=15)
@given(c=st.integers(1, 6), classes=st.integers(1, 6), h=side, w=side)
def test_a_1x1_head_commutes_with_the_pool(c: int, classes: int, h: int, w: int) -> None:
    head, pool = ConvHead(c, classes).double(), FixedAvgPool((h, w))
    x = torch.randn(2, c, h, w, dtype=torch.float64)
    torch.testing.assert_close(pool(head(x)), head(pool(x)))


@pytest.mark.parametrize("kernel", [1, 3, 5, (4, 2)])
def test_conv_bn_act_pads_symmetrically(kernel: int | tuple[int, int]) -> None:
    block = ConvBnAct(2, 4, kernel, act="relu6")
    height, width = block.conv.kernel_size
    assert block.conv.padding == (height // 2, width // 2)
    assert block.conv.bias is None
    assert block(torch.randn(2, 2, 8, 8)).shape[1] == 4


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown activation 'gelu'"):
        make_act("gelu")  # type: ignore[arg-type]
