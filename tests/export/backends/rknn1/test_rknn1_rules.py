"""rknn1's rules leave the zoo alone; tests/export/lint/test_rule_examples.py has their examples."""

from __future__ import annotations

import pytest
from edgeark.export.lint import capture_network, check
from edgeark.export.targets import find_target
from edgeark.zoo import spec_of
from support.zoo_cases import create_small, one_per_family


@pytest.mark.parametrize("name", one_per_family())
def test_the_zoo_is_clean(name: str) -> None:
    model, target = create_small(name), find_target("rknn1:rv1126")
    network = capture_network(model, spec_of(model).input_shape)
    assert check(network, target.rules(), target.full_name) == []
