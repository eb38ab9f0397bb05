"""ExecuTorch's rules: each fires where it refuses, errs or is slow, and not on its neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.executorch.rules import RULES
from edgeark.export.backends.executorch.target import ExecuTorch
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches, Function, findings, try_each
from torch import Tensor, nn
from torch.nn import functional as f


def resize(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, **options)  # type: ignore[arg-type]


# A rule, a network where it fires and ExecuTorch fails, one where neither does
ERRORS: list[tuple[str, Function, Function]] = [
    ("adaptive-max-pool", nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(1)),
    ("max-with-place", lambda x: x.max(1)[0], lambda x: x + x),
    ("negative-padding", lambda x: f.pad(x, (-1, -1, 0, 0)), lambda x: x[..., 1:-1]),
    (
        "fractional-size",
        lambda x: resize(x, scale_factor=1.3, mode="bilinear"),
        lambda x: resize(x, scale_factor=1.5, mode="bilinear"),
    ),
    ("softmax-over-width", lambda x: x.softmax(-1), lambda x: x.flatten(2).softmax(2)),
]
# A rule, what it fires on, ExecuTorch's kernel that it falls to, what XNNPACK takes in its place
WARNINGS: list[tuple[str, Function, str, Function]] = [
    (
        "portable-resize",
        lambda x: resize(x, scale_factor=2),
        "upsample_nearest2d",
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
    ),
    (
        "portable-resize",
        lambda x: resize(x, size=(12, 20), mode="bilinear", antialias=True),
        "_upsample_bilinear2d_aa",
        lambda x: resize(x, size=(12, 20), mode="bilinear", align_corners=True),
    ),
    (
        "portable-pool",
        nn.AvgPool2d(3, 1, 1),
        "avg_pool2d",
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    ),
    ("portable-pool", nn.AvgPool2d(3, 2, ceil_mode=True), "avg_pool2d", nn.AvgPool2d(2)),
    ("portable-pool", nn.MaxPool2d(2, 3), "max_pool2d", nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    ("portable-pool", nn.AdaptiveAvgPool2d(4), "_adaptive_avg_pool2d", nn.AdaptiveAvgPool2d(1)),
    ("portable-reduction", lambda x: x.mean((2, 3)), "mean", lambda x: x.mean((2, 3), True)),
    ("portable-reduction", lambda x: x.mean(1, keepdim=True), "mean", lambda x: x[:, :1]),
    ("portable-reduction", lambda x: x.amax((2, 3)), "amax", lambda x: x.clamp(min=0)),
    ("portable-reduction", lambda x: x.var((2, 3)), "var", lambda x: x**2),
    ("portable-reduction", lambda x: x.norm(dim=1), "sum", lambda x: x.abs()),
    ("portable-slice", lambda x: x[..., ::2], "slice_copy", nn.Conv2d(8, 8, 1, (1, 2))),
    ("portable-softmax", lambda x: x.softmax(1), "_softmax", torch.sigmoid),
    (
        "portable-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        "index",
        nn.Conv2d(8, 8, 3, padding=1),
    ),
    (
        "portable-padding",
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
        "slice_scatter",
        nn.ZeroPad2d((0, 1, 0, 1)),
    ),
    ("portable-operator", f.elu, "elu", f.hardswish),
    ("int8-stop", f.mish, "log1p", f.silu),
    ("portable-operator", lambda x: f.log_softmax(x, 1), "_log_softmax", torch.tanh),
    ("portable-operator", nn.LayerNorm(40), "native_layer_norm", nn.Linear(40, 5)),
    ("portable-operator", nn.GroupNorm(2, 8), "native_group_norm", nn.BatchNorm2d(8)),
    ("portable-operator", nn.InstanceNorm2d(8), "no_stats", nn.PReLU(8)),
    (
        "portable-operator",
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
        "split_with_sizes_copy",
        lambda x: torch.cat((x[:, 4:], x[:, :4]), 1),
    ),
    ("portable-operator", lambda x: x[:, [3, 1]], "index", lambda x: x[:, 1:3]),
    (
        "portable-operator",
        lambda x: x.repeat(1, 2, 1, 1),
        "repeat",
        lambda x: torch.cat((x, -x), 1),
    ),
    (
        "portable-operator",
        lambda x: x.mean((2, 3), True).expand(-1, -1, 3, 4),
        "expand_copy",
        lambda x: x * x.mean((2, 3), True),
    ),
    ("portable-operator", lambda x: torch.where(x > 0, x, 0.1 * x), "where", torch.relu),
    ("portable-operator", lambda x: x.argmax(1).float(), "argmax", torch.neg),
    ("portable-operator", lambda x: x.flip(3), "flip", lambda x: x.permute(0, 2, 3, 1)),
    (
        "portable-operator",
        lambda x: f.scaled_dot_product_attention(x, x, x),
        "any",
        lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)),
    ),
]


@pytest.mark.parametrize(
    ("rule", "bad", "good"), [*ERRORS, *((rule, bad, good) for rule, bad, _, good in WARNINGS)]
)
def test_a_rule_fires_on_its_case_alone(rule: str, bad: Function, good: Function) -> None:
    assert findings(ExecuTorch(), bad) == {rule}
    assert findings(ExecuTorch(), good) == set()


def test_every_rule_is_tried() -> None:
    assert {rule.name for rule in RULES} == {case[0] for case in (*ERRORS, *WARNINGS)}


def test_errors_are_executorchs(tmp_path: Path) -> None:
    target = installed_target("executorch")
    assert isinstance(target, ExecuTorch)
    tried = try_each(target, [bad for _, bad, _ in ERRORS], tmp_path)
    assert [bool(t.error) or t.sqnr_db < 40 for t in tried] == [True] * len(ERRORS)


def test_int8_stops_where_a_rule_says_so(tmp_path: Path) -> None:
    target = installed_target("executorch")
    assert isinstance(target, ExecuTorch)
    functions: list[Function] = [f.mish, f.softplus, f.silu]
    tried = try_each(target, functions, tmp_path, precision="int8")
    assert [not t.error and t.sqnr_db > 20 for t in tried] == [False, False, True]
    fired = [findings(target, function) for function in functions]
    assert fired == [{"int8-stop"}, {"int8-stop"}, set()]


def test_xnnpack_leaves_what_is_warned_of_and_takes_the_rest(tmp_path: Path) -> None:
    target = installed_target("executorch")
    torch.manual_seed(0)
    bad, good = tmp_path / "bad", tmp_path / "good"
    for folder in (bad, good):
        folder.mkdir()
    graph = settle(Branches([function for _, function, _, _ in WARNINGS]), SPEC, bad)
    artifact, _ = prove(target, graph, "float32", bad)
    kernels = artifact.settings["portable_ops"]
    missing = [name for _, _, name, _ in WARNINGS if not any(name in k for k in kernels)]
    assert missing == []
    functions = [*(case[2] for case in ERRORS), *(case[3] for case in WARNINGS)]
    artifact, _ = prove(target, settle(Branches(functions), SPEC, good), "float32", good)
    assert artifact.settings["portable_ops"] == []
