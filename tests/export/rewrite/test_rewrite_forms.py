"""What is rewritten is equal: each form of an operator, of any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edgeark.export.check import check_model
from edgeark.export.rewrite import rewrite
from edgeark.export.targets import find_targets
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.rewriting import Whole, same
from support.tries import Function
from torch import Tensor, nn
from torch.nn import functional as f

few = settings(max_examples=12)  # each is traced twice
SIDES = st.tuples(st.integers(2, 13), st.integers(2, 13))
FACTORS = st.tuples(st.floats(0.5, 3), st.floats(0.5, 3))


@few
@given(SIDES, SIDES | FACTORS, st.sampled_from(["bicubic", "bilinear"]), st.booleans())
def test_interpolation_is_a_product_on_each_side(
    before: tuple[int, int], after: tuple[float, float], mode: str, is_filtered: bool
) -> None:
    """Of any size or factor, with aligned corners or a filter or neither."""
    assume(mode == "bicubic" or is_filtered)  # opencv has the rest
    assume(mode == "bicubic" or any(m < n for n, m in zip(before, after, strict=True)))
    if isinstance(after[0], float):
        assume(mode == "bicubic" or all(factor < 1 for factor in after))
    if is_filtered:  # of one pixel PyTorch 2.15 makes this or that, as the map lies in memory
        sizes = [n * factor for n, factor in zip(before, after, strict=True)]
        assume(min(after if isinstance(after[0], int) else sizes) >= 2)
    how = "size" if isinstance(after[0], int) else "scale_factor"
    options: dict[str, Any] = {how: after, "mode": mode, "antialias": is_filtered}
    same(lambda x: f.interpolate(x, **options), torch.randn(1, 3, *before), "opencv")


@few
@given(SIDES, SIDES)
def test_uneven_pools_are_products(before: tuple[int, int], after: tuple[int, int]) -> None:
    assume(any(n % m for n, m in zip(before, after, strict=True)))
    x = torch.randn(1, 3, *before)
    same(lambda x: f.adaptive_avg_pool2d(x, after), x, "rknn-torchscript:rk3588")


@few
@given(SIDES, st.integers(2, 4), st.integers(1, 3), st.booleans(), st.booleans(), st.data())
def test_averages_are_plain_pools(
    before: tuple[int, int],
    kernel: int,
    stride: int,
    is_cut: bool,
    is_counted: bool,
    data: st.DataObject,
) -> None:
    padding = data.draw(st.integers(0, kernel // 2))
    assume(min(before) + 2 * padding >= kernel)
    pool = nn.AvgPool2d(kernel, stride, padding, is_cut, is_counted, divisor_override=kernel + 1)
    same(pool, torch.randn(1, 3, *before), "opencv", "opencv5", "openvino")
    pool.divisor_override = None
    x = torch.randn(1, 3, *before)
    if check_model(pool, x.shape, targets := find_targets("opencv5,openvino,ncnn")):
        assert not rewrite(pool, x.shape, targets).left


@few
@given(SIDES, st.integers(2, 3), st.integers(1, 3), st.integers(2, 3), st.booleans(), st.data())
def test_dilated_pools_are_maxima_of_slices(
    before: tuple[int, int],
    kernel: int,
    stride: int,
    dilation: int,
    is_cut: bool,
    data: st.DataObject,
) -> None:
    padding = data.draw(st.integers(0, kernel // 2))
    assume(min(before) > dilation * (kernel - 1))  # no window is padding alone
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=is_cut)
    same(pool, torch.randn(1, 3, *before), "mnn")


@few
@given(
    SIDES,
    st.lists(st.integers(-2, 3), min_size=4, max_size=4),
    st.sampled_from(["constant", "circular", "replicate"]),
)
def test_padding_is_slices_or_places(before: tuple[int, int], sides: list[int], mode: str) -> None:
    height, width = before
    assume(width + sum(sides[:2]) > 0 and height + sum(sides[2:]) > 0)
    assume(mode == "constant" or min(sides) >= 0)
    assume(max(sides) <= min(before))

    def pad(x: Tensor) -> Tensor:
        return f.pad(x, sides, mode)

    x = torch.randn(1, 3, *before)
    if check_model(Whole(pad), x.shape, find_targets("opencv,coreml,mnn")):
        same(pad, x, "opencv", "coreml", "mnn")


@pytest.mark.parametrize(
    ("function", "target"),
    [
        (lambda x: f.pixel_unshuffle(x, 2), "coreml"),
        (lambda x: torch.channel_shuffle(x, 2), "coreml"),
        (lambda x: torch.addcmul(x, x, x.abs()), "coreml"),
        (f.celu, "coreml"),
        (f.hardshrink, "coreml"),
        (f.softshrink, "coreml"),
        (f.logsigmoid, "coreml"),
        (lambda x: torch.lerp(x, -x, x.abs()), "coreml"),
        (lambda x: x[..., ::2, 1::2], "ncnn"),
        (lambda x: x[:, :, 3:9:4], "executorch"),
        (lambda x: f.max_pool2d(x, 3, 1, 1).softmax(3), "executorch"),
        (lambda x: x.mean((2, 3)), "ethos-u:u55-128"),
        (lambda x: f.layer_norm(x, x.shape[1:]), "ncnn"),
        (lambda x: f.max_pool2d(x, 2), "ncnn"),
        (lambda x: x.std((2, 3), keepdim=True), "ncnn"),
        (lambda x: x.rot90(-1, (2, 3)), "opencv"),
        (lambda x: x.logsumexp((1, 2)), "mnn"),
        (lambda x: f.interpolate(x, scale_factor=2, mode="nearest-exact"), "coreml"),
    ],
)
def test_other_forms_are_equal(function: Function, target: str) -> None:
    for _ in range(3):
        same(function, 3 * torch.randn(1, 4, 12, 20), target)
