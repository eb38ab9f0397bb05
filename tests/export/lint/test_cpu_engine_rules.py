"""Rules of MNN, OpenVINO and ONNX Runtime: each fires where the engine fails.

And not on its neighbour, which the engine computes rightly.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.mnn import rules as mnn_rules
from edgeark.export.backends.onnxruntime import rules as onnxruntime_rules
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.backends.openvino import rules as openvino_rules
from edgeark.export.graph.files import Graph
from edgeark.export.lint import Rule
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from support.engine_cases import (
    ANTIALIAS,
    CIRCULAR,
    DILATED,
    DIVISOR,
    KERNEL,
    SAME_SIZE,
    Case,
    conv1d,
    engine_fails,
    engine_is_right_on_neighbours,
    fold,
    put,
    resize,
    rows,
    rules_fire_alone,
    sample,
    scale,
    smaller,
)
from support.settled import SPEC, make_images
from support.tries import Between
from torch import nn
from torch.nn import functional as f

NEAREST_BY_QUOTIENT: list[Case] = [
    ("nearest-rounding", lambda x: scale(x, 0.6, "nearest"), lambda x: scale(x, 1.7, "nearest")),
    (
        "nearest-rounding",
        lambda x: resize(x[:, :, :20], (46, 92), "nearest"),
        lambda x: resize(x[:, :, :20], (22, 44), "nearest"),
    ),
    ("nearest-rounding", lambda x: scale(x, 1.2, "nearest"), lambda x: scale(x, 3, "nearest")),
]
# A rule, a network where it fires, one where it does not
MNN: list[Case] = [
    CIRCULAR,
    DIVISOR,
    ("nearest-rounding", lambda x: scale(x, 1.7, "nearest"), lambda x: scale(x, 0.6, "nearest")),
    ("nearest-rounding", lambda x: scale(x, 1.1, "nearest"), lambda x: scale(x, 1.5, "nearest")),
    ANTIALIAS,
    ("unknown-operator", f.mish, lambda x: x * f.softplus(x).tanh()),
    ("unknown-operator", nn.Mish(inplace=True), nn.SiLU(inplace=True)),
    ("unknown-operator", lambda x: torch.atan2(x, x + 3), torch.atan),
    ("unknown-operator", lambda x: x.isnan().float() + x, torch.atan),
    ("unknown-operator", torch.nan_to_num, torch.atan),
    ("unknown-operator", lambda x: torch.xlogy(x, x.abs() + 1), torch.atan),
    ("unknown-operator", fold, lambda x: f.pixel_shuffle(x, 2)),
    (
        "less-than",
        lambda x: (x < -0.1).float(),
        lambda x: ((-x > 0.1) | (x < 0.4) & (x <= -0.2)).float(),
    ),
    (
        "less-than",
        lambda x: torch.where(x < x.roll(1, 1), x, 0.0),
        lambda x: torch.where(x.roll(1, 1) > x, x, 0.0),
    ),
    ("wrong-operator", lambda x: torch.fmod(x * 5, 0.7), lambda x: x.roll(3, 2)),
    ("wrong-operator", put, lambda x: x.roll(3, 2)),
    ("equal-floats", lambda x: (x.round() == 0).float(), lambda x: (x < 0).float()),
    (
        "equal-floats",
        lambda x: (x.round() != 0).float(),
        lambda x: (x.argmax(1, True) == 2).float(),
    ),
    ("norm-over-all", f.normalize, lambda x: (x * x).sum(1, True).sqrt()),
    ("norm-over-all", lambda x: x.logsumexp(1, True), lambda x: x.exp().sum(1, True).log()),
    ("norm-over-all", lambda x: f.cosine_similarity(x[:, :4], x[:, 4:])[:, None], torch.atan),
    (
        "bicubic-enlarged",
        lambda x: resize(x, (30, 20), "bicubic"),
        lambda x: resize(x, (12, 20), "bicubic"),
    ),
    (
        "bicubic-enlarged",
        lambda x: scale(x, 2, "bicubic"),
        lambda x: resize(x, (48, 80), "bicubic", align_corners=True),
    ),
    ("antialias", lambda x: resize(x, (12, 20), "bicubic", antialias=True), smaller),
    ("dilated-pool", DILATED, SAME_SIZE),
    (
        "padded-average-3d",
        lambda x: f.avg_pool3d(x[:, None], 3, 2, 1)[:, 0],
        lambda x: f.avg_pool3d(x[:, None], 2)[:, 0],
    ),
    ("negative-index", lambda x: x[:, [-1, 0]], lambda x: x[:, [7, 0]]),
    ("negative-index", lambda x: x[..., [-1, 2]], lambda x: x[..., -5:]),
    (
        "grid-sample-mode",
        lambda x: sample(x, "bicubic", "zeros"),
        lambda x: sample(x, "bilinear", "zeros"),
    ),
    (
        "grid-sample-mode",
        lambda x: sample(x, "bilinear", "reflection"),
        lambda x: sample(x, "bilinear", "border"),
    ),
    ("output-of-conv1d", conv1d, lambda x: conv1d(x).softmax(2)),
    ("output-of-conv1d", lambda x: conv1d(x).relu(), lambda x: conv1d(x).softmax(2)),
    (
        "output-of-conv1d",
        lambda x: f.conv_transpose1d(rows(x[:, :4]), KERNEL),
        lambda x: conv1d(x).softmax(2),
    ),
]
OPENVINO: list[Case] = [
    CIRCULAR,
    DIVISOR,
    *NEAREST_BY_QUOTIENT,
    ANTIALIAS,
    ("antialias", lambda x: resize(x, (48, 80), "bicubic", antialias=True), smaller),
    ("average-ceil-mode", nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1)),
    (
        "average-ceil-mode",
        nn.AvgPool2d(4, 3, 1, ceil_mode=True),
        nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
    ),
    *(
        (
            "pool-across-activation",
            nn.Sequential(nn.MaxPool2d(2), activation, nn.MaxPool2d(2)),
            nn.Sequential(nn.MaxPool2d(2), nn.ELU(), nn.MaxPool2d(2)),
        )
        for activation in (nn.GELU(), nn.SiLU(), nn.Mish(), nn.Hardswish())
    ),
    ("pool-across-activation", nn.Sequential(nn.MaxPool2d(2), nn.SiLU(), nn.MaxPool2d(2)), f.silu),
]
ONNXRUNTIME: list[Case] = [
    DIVISOR,
    *NEAREST_BY_QUOTIENT,
    (
        "padded-max-pool",
        lambda x: f.max_pool2d(f.pad(x, (1, 1, 1, 1), value=0.0), 3, 2),
        lambda x: f.max_pool2d(f.pad(x.relu(), (1, 1, 1, 1)), 3, 2),
    ),
    (
        "padded-max-pool",
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)),
        nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -9.0), nn.MaxPool2d(3, 2)),
    ),
]
# It writes where it must not: the process dies, and others with it
TRILINEAR: Case = (
    "trilinear",
    lambda x: scale(x[:, None], 3, "trilinear")[:, 0],
    lambda x: scale(x[:, None], 3, "nearest")[:, 0],
)

ENGINES: dict[str, tuple[tuple[Rule, ...], list[Case]]] = {
    "mnn": (mnn_rules.RULES, [*MNN, TRILINEAR]),
    "openvino": (openvino_rules.RULES, OPENVINO),
    "onnxruntime": (onnxruntime_rules.RULES, ONNXRUNTIME),
}


@pytest.mark.parametrize("name", ENGINES)
def test_every_rule_fires_on_its_case_alone(name: str) -> None:
    rules_fire_alone(name, *ENGINES[name])


ISOLATED = pytest.mark.parametrize(("name", "cases"), [("mnn", MNN), ("openvino", OPENVINO)])


@ISOLATED
def test_the_engine_fails_there(name: str, cases: list[Case], tmp_path: Path) -> None:
    engine_fails(name, cases, tmp_path)


@ISOLATED
def test_the_engine_is_right_on_the_neighbours(
    name: str, cases: list[Case], tmp_path: Path
) -> None:
    engine_is_right_on_neighbours(name, cases, tmp_path)


def test_mnn_dies_of_trilinear(tmp_path: Path) -> None:
    engine_fails("mnn", [TRILINEAR], tmp_path)


@pytest.mark.parametrize("case", ONNXRUNTIME)
def test_onnxruntime_is_wrong_there_alone(case: Case, tmp_path: Path) -> None:
    target, images = OnnxRuntime(), make_images(4, SPEC.input_shape[1:], seed=0)
    seen = []
    for name, function in zip(("bad", "good"), case[1:], strict=True):
        out = tmp_path / name
        out.mkdir()
        graph = Graph(Between(function), SPEC, out)
        artifact = target.convert(Conversion(graph, "float32", out, out / "log.txt"))
        outputs = target.run(artifact, images, out / "log.txt").outputs
        seen.append(compare(graph.reference(images), outputs).sqnr_db)
    assert seen[0] < 40 and seen[1] > 75
