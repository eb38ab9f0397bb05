"""The K210 compiler's numbers: rounding of weights and scales, ranges, tables, addresses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgeark.export.kpu.arithmetic import _Segments
from edgeark.export.kpu.compiler.allocate import Block, allocate, peak
from edgeark.export.kpu.compiler.calibrate import Statistics
from edgeark.export.kpu.compiler.fit import fit_activation
from edgeark.export.kpu.compiler.quantize import (
    WEIGHT_ZERO,
    Quantization,
    quantize_scales,
    quantize_weights,
)
from edgeark.export.kpu.tables import HIGHEST, LOWEST
from hypothesis import given, settings
from hypothesis import strategies as st


@given(st.integers(0, 2**32 - 1), st.integers(-8, 3), st.integers(1, 40))
@settings(max_examples=60)
def test_weights_and_scales_are_near(seed: int, magnitude: int, channels: int) -> None:
    """Half a step for a weight; the words add less than a thousandth of a byte."""
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-2, 0, (6, 1, 1, 1))
    real = rng.normal(size=(6, channels, 3, 3)) * spread * 10.0**magnitude
    weights, scales = quantize_weights(real)
    rounded = (weights.astype(np.float64) - WEIGHT_ZERO) * scales[:, None, None, None]
    assert (np.abs(rounded - real) <= 0.5001 * scales[:, None, None, None]).all()
    bias = rng.normal(size=6) * 10.0**magnitude
    reach = 255 * np.abs(real).sum((1, 2, 3))
    out_scale = float(reach.max() / 255)
    bn, unit = quantize_scales(weights, scales, bias, out_scale)
    a = rng.uniform(-1, 1, (100, 6)) * reach / scales
    a = np.rint(a).astype(np.int64)
    v = (a * bn.mul >> bn.shift) + bn.add
    assert v.min() >= LOWEST and v.max() <= HIGHEST
    assert np.abs(v * unit - (a * scales + bias)).max() < out_scale / 1000


def test_an_outlier_is_cut_off_where_that_costs_less() -> None:
    values = np.append(np.random.default_rng(0).normal(size=2000), 20.0)[:, None]
    seen = Statistics(values.min(0), values.max(0), values.mean(0), values)
    assert seen.range("minmax") == (values.min(), 20)
    low, high = Statistics(seen.low, seen.high, seen.mean, values[:-1]).range("mse")
    assert values.min() / 2 >= low >= values.min() and 10 <= high < 20


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_zero_is_a_byte(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    q = Quantization.of(low, high)
    assert 0 <= q.zero <= 255
    for end in (low, high):
        byte = np.clip(np.rint(end / q.scale + q.zero), 0, 255)
        assert abs(q.scale * byte + q.bias - end) <= q.scale * 1.01


CURVES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "linear": (lambda x: x, 0.02),
    "relu": (lambda x: np.maximum(x, 0), 0.1),
    "leaky": (lambda x: np.where(x > 0, x, 0.1 * x), 0.2),
    "relu6": (lambda x: np.clip(x, 0, 6), 0.1),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 0.8),
    "silu": (lambda x: x / (1 + np.exp(-x)), 1.0),
}


@pytest.mark.parametrize(("curve", "bytes_off"), CURVES.values(), ids=CURVES)
@given(low=st.floats(-12, -0.1), high=st.floats(0.5, 12), offset=st.sampled_from([0, 0.375]))
@settings(max_examples=25)
def test_tables_follow_their_curve(
    curve: Callable[[np.ndarray], np.ndarray],
    bytes_off: float,
    low: float,
    high: float,
    offset: float,
) -> None:
    """The error beyond rounding, root mean square in bytes, over the numbers seen."""
    x = np.linspace(low, high, 5000)
    y = curve(x)
    q, unit = Quantization.of(float(y.min()), float(y.max())), 1e-8 * (high - low)
    table = fit_activation(curve, (low, high), q.scale, q.zero + offset, unit)
    found = _Segments(table, LOWEST, HIGHEST)(np.rint(x / unit)).astype(np.float64)
    wanted = np.clip(y / q.scale + q.zero + offset, 0, 255)
    error = float(np.square(found - wanted).mean())
    rounding = float(np.square(np.rint(wanted) - wanted).mean())
    assert error <= rounding + (bytes_off + 0.2 * bool(offset)) ** 2


def test_numbers_never_seen_end_at_the_edges() -> None:
    table = fit_activation(lambda x: np.maximum(x, 0), (-2.0, 3.0), 3 / 255, 0, 1e-8)
    far = np.array([-1e10, -1e9, 0, 4e8, 1e10])
    assert _Segments(table, LOWEST, HIGHEST)(far).tolist() == [0, 0, 0, 255, 255]


blocks = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 12), st.integers(0, 5)).map(
        lambda t: Block(t[0], t[1], t[1] + t[2])
    ),
    max_size=25,
)


@given(blocks)
def test_blocks_that_live_together_never_overlap(each: list[Block]) -> None:
    offsets = allocate(each)
    for i, a in enumerate(each):
        for j in range(i):
            b = each[j]
            together = a.first <= b.last and b.first <= a.last
            apart = offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]
            assert apart or not together
    least = max((sum(b.size for b in each if b.first <= t <= b.last) for t in range(18)), default=0)
    assert least <= peak(each, offsets) <= sum(block.size for block in each)


def test_a_chain_takes_no_more_than_its_largest_pair() -> None:
    sizes = (40, 100, 60, 90, 10, 5)
    chain = [Block(size, i, i + 1) for i, size in enumerate(sizes)]
    assert peak(chain, allocate(chain)) == 160
