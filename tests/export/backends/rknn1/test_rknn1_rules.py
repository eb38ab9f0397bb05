"""rknn1's rules: each fires on a minimal network, and not on its neighbour or on the zoo."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from edgeark.export.backends.rknn1.rules import RULES
from edgeark.export.lint import capture_network, check
from edgeark.export.targets import find_target
from edgeark.zoo import spec_of
from support.zoo_cases import create_small, one_per_family
from torch import Tensor, nn
from torch.nn import functional as f

Function = Callable[[Tensor], Tensor]


class Calls(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv(**options: int | tuple[int, int]) -> Function:
    return nn.Conv2d(4, 4, 3, **options)  # type: ignore[arg-type]


# rule, severity, a network where it fires, one where it does not
CASES: list[tuple[str, str, Function, Function]] = [
    ("unsupported-operator", "error", f.softplus, f.mish),
    (
        *("unsupported-operator", "error"),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bicubic"),
        lambda x: f.interpolate(x, scale_factor=2.0),
    ),
    ("unsupported-operator", "error", lambda x: torch.where(x > 0, x, -x), f.leaky_relu),
    ("unlisted-operator", "warning", torch.sin, lambda x: f.silu(x.clone(), inplace=True)),
    (
        *("pytorch-route-alone", "warning"),
        lambda x: f.max_pool2d(x, 2, ceil_mode=True),
        lambda x: f.max_pool2d(x, 2),
    ),
    (
        *("pytorch-route-alone", "warning"),
        lambda x: f.max_pool2d(x, 2, dilation=2),
        lambda x: f.max_pool2d(x, 3, 1, 1),
    ),
    (
        *("pytorch-route-alone", "warning"),
        lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: f.pad(x, (1, 1, 1, 1)),
    ),
    ("pytorch-route-alone", "warning", lambda x: f.pixel_shuffle(x, 2), f.relu6),
    ("uneven-dilation", "error", conv(dilation=(2, 3)), conv(dilation=(1, 3))),
    (
        *("dilated-depthwise-stride", "error"),
        conv(dilation=2, stride=2, groups=4),
        conv(dilation=2, groups=4),
    ),
    (
        *("padding-value", "warning"),
        lambda x: f.pad(x, (0, 1, 0, 1), value=1.0),
        lambda x: f.pad(x, (0, 1, 0, 1)),
    ),
    (
        *("padding-mode", "error"),
        lambda x: f.pad(x, (1, 1, 1, 1), mode="replicate"),
        lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
    ),
    (
        *("fractional-size", "error"),
        lambda x: f.interpolate(x, scale_factor=1.3),
        lambda x: f.interpolate(x, scale_factor=1.5),
    ),
    (
        *("bilinear-pixel-centres", "warning"),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear"),
        lambda x: f.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
    ),
    (
        *("softmax-1d", "error"),
        lambda x: x.flatten().softmax(0),
        lambda x: x.flatten(1).softmax(1),
    ),
    (
        *("division-broadcast", "error"),
        lambda x: x / x.mean(1, keepdim=True),
        lambda x: x / x.exp() / 2.0,
    ),
    (
        *("joined-outputs", "warning"),
        lambda x: torch.cat((x.relu(), x), 1),
        lambda x: torch.cat((x.relu(), x), 1).relu(),
    ),
    ("divisor-override", "error", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2)),
]


def findings_of(model: nn.Module, shape: tuple[int, ...]) -> dict[str, str]:
    target = find_target("rknn1:rv1126")
    found = check(capture_network(model, shape), target.rules(), target.full_name)
    return {finding.rule: finding.severity for finding in found}


@pytest.mark.parametrize(("rule", "severity", "bad", "good"), CASES)
def test_a_rule_fires_where_it_must(
    rule: str, severity: str, bad: Function, good: Function
) -> None:
    shape = (1, 4, 12, 12)
    assert findings_of(Calls(bad), shape).get(rule) == severity
    assert rule not in findings_of(Calls(good), shape)


def test_every_rule_is_tried() -> None:
    assert {rule.name for rule in RULES} == {case[0] for case in CASES}


@pytest.mark.parametrize("name", one_per_family())
def test_the_zoo_is_clean(name: str) -> None:
    model = create_small(name)
    assert findings_of(model, spec_of(model).input_shape) == {}
