"""The KPU's arithmetic, fast and exact, against plain integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgeark.export.kpu import Activation, BatchNorm, KmodelError, KpuConv, Pool
from edgeark.export.kpu.arithmetic import pool_bytes
from edgeark.export.kpu.tables import HIGHEST, LOWEST
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kpu_cases import conv
from support.kpu_plain import TooManyBits, plain_activation, plain_convolution, plain_pool


def agree(layer: KpuConv, x: np.ndarray) -> None:
    """Both give the same bytes, or both find a sum of too many bits."""
    try:
        wanted = plain_convolution(layer, x)
    except TooManyBits:
        with pytest.raises(KmodelError, match="36 bits"):
            layer.compute(x[None])
        return
    found = layer.compute(x[None])
    assert found.dtype == np.uint8
    assert np.array_equal(found[0], wanted)


tables = {
    "relu": lambda rng: Activation.of([(0, 1 << 10, 10, 0)]),
    "relu6": lambda rng: Activation.of([(-40, 700, 10, 3), (200, 0, 0, 200)]),
    "rising": lambda rng: Activation.of(
        [
            (int(start), int(mul), int(shift), int(bias))
            for start, mul, shift, bias in zip(
                np.unique(rng.integers(-300, 300, 15)),
                rng.integers(-500, 1000, 15),
                rng.integers(0, 12, 15),
                rng.integers(0, 256, 15),
                strict=False,
            )
        ]
    ),
    "anything": lambda rng: Activation(
        np.where(
            rng.random(16) < 0.5,
            rng.integers(-1000, 1000, 16),
            rng.integers(LOWEST, HIGHEST, 16),
        ),
        rng.integers(-(1 << 15), 1 << 15, 16),
        rng.integers(0, 60, 16),
        rng.integers(0, 256, 16),
    ),
}


@settings(max_examples=250)
@given(
    seed=st.integers(0, 10**6),
    kernel=st.sampled_from([1, 3]),
    depthwise=st.booleans(),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    pool=st.sampled_from(Pool),
    table=st.sampled_from(sorted(tables)),
    shr=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    mul_bits=st.integers(4, 23),
)
def test_bytes_equal_those_of_plain_integers(
    seed: int,
    kernel: int,
    depthwise: bool,
    size: tuple[int, int],
    pool: Pool,
    table: str,
    shr: tuple[int, int],
    mul_bits: int,
) -> None:
    rng = np.random.default_rng(seed)
    out, into = rng.integers(1, 4, 2)
    zero_x, zero_w = (int(zero) for zero in rng.integers(0, 256, 2))
    most = 1 << mul_bits
    layer = conv(
        *(rng, (out, 1 if depthwise else into, kernel, kernel)),
        **{"src_row": 0, "dst_row": 100, "height": size[0], "width": size[1]},
        **{"depthwise": depthwise, "pool": pool, "pad_value": zero_x},
        # Not always whole: the rest is rounded down apart from the products.
        **{"arg_x": -(zero_w << shr[0]) + int(rng.integers(-1, 2)), "shr_x": shr[0]},
        **{"arg_w": -(zero_x << shr[1]) + int(rng.integers(-1, 2)), "shr_w": shr[1]},
        arg_add=kernel**2 * zero_x * zero_w,
        bn=BatchNorm(
            rng.integers(-most, most, out),
            rng.integers(max(0, mul_bits - 8), 16, out),
            rng.integers(-500, 500, out),
        ),
        activation=tables[table](rng),
    )
    x = rng.integers(0, 256, (layer.in_channels, *size), dtype=np.uint8)
    agree(layer, x)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    arg_add=st.sampled_from([0, 1 << 20, 1 << 33, -(1 << 34), 1 << 38]),
    add=st.sampled_from([0, (1 << 31) - 1, -(1 << 31)]),
    shift=st.integers(0, 15),
    arg_x=st.integers(-(1 << 23), (1 << 23) - 1),
)
def test_huge_sums_are_exact_or_refused(
    seed: int, arg_add: int, add: int, shift: int, arg_x: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = conv(
        *(rng, (2, 1, 1, 1)),
        **{"src_row": 0, "dst_row": 100, "height": 4, "width": 4, "arg_add": arg_add},
        **{"arg_x": arg_x, "shr_x": int(rng.integers(0, 16)), "arg_w": (1 << 23) - 1},
        bn=BatchNorm(
            rng.integers(-(1 << 23), 1 << 23, 2) >> int(rng.integers(0, 23)),
            np.full(2, shift),
            np.full(2, add),
        ),
        activation=tables["anything"](rng),
    )
    agree(layer, rng.integers(0, 256, (1, 4, 4), dtype=np.uint8))


@given(
    rows=st.lists(st.integers(-3000, 3000), min_size=1, max_size=40),
    mul=st.integers(-(1 << 15), (1 << 15) - 1),
    shift=st.integers(0, 20),
    start=st.integers(-100, 100),
    lowest_is_start=st.booleans(),
)
def test_halves_are_rounded_as_the_specification_says(
    rows: list[int], mul: int, shift: int, start: int, lowest_is_start: bool
) -> None:
    """Through a convolution whose sum is the byte itself, moved by the batch normalisation."""
    table = Activation.of([(start, mul, shift, 100)])
    if lowest_is_start:  # below it, segment 0 runs backwards
        table = Activation(*(np.full(16, field) for field in (start, mul, shift, 100)))
    for add in rows:
        layer = conv(
            *(np.random.default_rng(0), (1, 1, 1, 1)),
            **{"src_row": 0, "dst_row": 9, "height": 1, "width": 3, "pad_value": 0},
            **{"weights": np.ones((1, 1, 1, 1), np.uint8), "arg_x": 0, "arg_w": 0, "arg_add": 0},
            bn=BatchNorm(np.array([1]), np.array([0]), np.array([add])),
            activation=table,
        )
        x = np.array([[[0, 1, 255]]], np.uint8)
        wanted = [plain_activation(table, add + value) for value in (0, 1, 255)]
        assert layer.compute(x[None]).ravel().tolist() == wanted


@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kind=st.sampled_from(Pool),
)
def test_pools(seed: int, size: tuple[int, int], kind: Pool) -> None:
    maps = np.random.default_rng(seed).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    found = pool_bytes(maps, kind)
    for image in range(2):
        for channel in range(3):
            one = maps[image, channel].tolist()
            wanted = plain_pool(kind, lambda y, x, one=one: one[y][x], size)
            assert found[image, channel].tolist() == wanted


def test_sums_beyond_the_integers_of_float32_are_exact() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(128, 256, (1, 1024, 4, 4), dtype=np.uint8)
    weights = rng.integers(128, 256, (3, 1024, 1, 1), dtype=np.uint8)
    sums = np.einsum("oi,ihw->ohw", weights[..., 0, 0].astype(int), x[0].astype(int))
    assert sums.min() > 1 << 24
    layer = conv(
        *(rng, weights.shape),
        **{"src_row": 0, "dst_row": 0, "height": 4, "width": 4, "weights": weights},
        **{"arg_x": 0, "arg_w": 0, "arg_add": 0},
        bn=BatchNorm(np.ones(3, int), np.zeros(3, int), 100 - sums[:, 1, 2]),
    )
    assert np.array_equal(layer.compute(x)[0], np.clip(sums - sums[:, 1:2, 2:3] + 100, 0, 255))
    for pixel in np.ndindex(4, 4):  # each in turn in the middle of the byte's range
        bn = BatchNorm(np.ones(3, int), np.zeros(3, int), 100 - sums[(slice(None), *pixel)])
        found = replace(layer, bn=bn).compute(x)[(0, slice(None), *pixel)]
        assert found.tolist() == [100, 100, 100]


def test_large_layers_are_cut_into_blocks_without_a_seam() -> None:
    """Blocks of rows and of images give what single pixels give."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, 24, 40, 90), dtype=np.uint8)
    for shape in ((32, 24, 3, 3), (700, 24, 1, 1)):
        layer = conv(rng, shape, src_row=0, dst_row=0, height=40, width=90)
        whole = layer.compute(x)
        taps = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=layer.pad_value)
        for place in ((0, 0, 0), (1, 17, 63), (2, 39, 89), (0, 38, 1)):
            n, row, column = place
            window = taps[n, :, row : row + 3, column : column + 3].astype(np.int64)
            if shape[2] == 1:
                window = window[:, 1:2, 1:2]
            a = (window[None] * (layer.weights.astype(np.int64) - 120)).sum((1, 2, 3))
            a += (layer.arg_w * layer.weights.astype(np.int64).sum((1, 2, 3)) >> 0) + (
                layer.arg_add * 24
            )
            v = (a * layer.bn.mul >> layer.bn.shift) + layer.bn.add
            assert whole[n, :, row, column].tolist() == np.clip(v, 0, 255).tolist()
