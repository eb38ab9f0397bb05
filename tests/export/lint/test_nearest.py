"""Which pixels nearest resizing takes: the rule's sums are PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.export.lint import capture_network, check
from edgeark.export.lint import nearest as way
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

SIDES = st.integers(1, 300)
FACTORS = st.one_of(st.floats(0.1, 8), st.integers(1, 80).map(lambda tenths: tenths / 10))
ENGINES = (way.by_quotient, way.by_inverse, way.by_ratio, way.by_double_ratio)


def taken(place: way.Place, before: int, after: int, factor: float | None) -> np.ndarray:
    pixels = np.arange(after, dtype=np.float32)
    return np.minimum(np.floor(place(pixels, before, after, factor)), before - 1)


@given(before=SIDES, after=SIDES)
def test_to_a_size(before: int, after: int) -> None:
    row = torch.arange(before, dtype=torch.float32).view(1, 1, 1, before)
    answer = interpolate(row, (1, after)).flatten().numpy()
    np.testing.assert_array_equal(answer, taken(way.by_pytorch, before, after, None))


@given(before=SIDES, factor=FACTORS)
def test_by_a_factor(before: int, factor: float) -> None:
    after = int(before * factor)
    if after:
        row = torch.arange(before, dtype=torch.float32).view(1, 1, 1, before)
        answer = interpolate(row, scale_factor=(1, factor)).flatten().numpy()
        np.testing.assert_array_equal(answer, taken(way.by_pytorch, before, after, factor))


@given(before=SIDES, factor=st.integers(1, 8), place=st.sampled_from(ENGINES))
def test_whole_factors_are_the_same_everywhere(before: int, factor: int, place: way.Place) -> None:
    wanted = np.arange(before).repeat(factor)
    np.testing.assert_array_equal(taken(place, before, before * factor, factor), wanted)


@pytest.mark.parametrize("factors", [(0.6, 1.0), (1.0, 0.6)])
def test_the_rule_looks_at_both_sides(factors: tuple[float, float]) -> None:
    rule = way.nearest_rounding("A runtime", way.by_quotient)
    network = capture_network(nn.Upsample(scale_factor=factors), (1, 3, 24, 24))
    assert [finding.rule for finding in check(network, [rule], "any")] == ["nearest-rounding"]
