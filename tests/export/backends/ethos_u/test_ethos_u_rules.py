"""Ethos-U's rules: each fires on what Vela leaves to the CPU, chip by chip, or refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from edgeark.export.backends.ethos_u.rules import rules_of
from edgeark.export.backends.ethos_u.target import EthosU
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.lint import capture_network, check
from edgeark.export.targets.base import Conversion
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, make_images, settle
from support.target_base import installed_target
from support.tries import Between, Branches, Function, findings
from torch import Tensor, nn
from torch.nn import functional as f

CHIPS = ("u55-128", "u65-256", "u85-256")
SMALL = CHIPS[:2]


def resize(x: Tensor, **options: object) -> Tensor:
    return f.interpolate(x, **options)  # type: ignore[arg-type]


# A rule, what it fires on, Vela's names for what the CPU gets of it, on which chips, a neighbour
CASES: list[tuple[str, Function, str, tuple[str, ...], Function]] = [
    ("cpu-mean", lambda x: x.mean((2, 3)), "Mean", CHIPS, lambda x: x.mean((2, 3), True)),
    ("cpu-operator", lambda x: f.leaky_relu(x, 0.1), "LeakyRelu", CHIPS, torch.relu),
    ("cpu-operator", lambda x: x.amax((2, 3)), "ReduceMax", CHIPS, nn.MaxPool2d(3, 2, 1)),
    ("cpu-operator", nn.GroupNorm(2, 8), "Mean Mean", CHIPS, nn.BatchNorm2d(8)),
    ("cpu-operator", nn.InstanceNorm2d(8), "Mean Mean", CHIPS, nn.PReLU(8)),
    ("cpu-operator", torch.abs, "Abs", CHIPS, torch.neg),
    ("cpu-operator", torch.sin, "Sin", CHIPS, torch.tanh),
    ("cpu-operator", torch.exp, "Exp", CHIPS, torch.sigmoid),
    ("cpu-operator", torch.floor, "Floor", CHIPS, f.silu),
    ("cpu-operator", torch.round, "Round", CHIPS, f.hardswish),
    ("cpu-operator", lambda x: x.relu().sqrt(), "Sqrt", CHIPS, nn.AvgPool2d(3, 1, 1)),
    ("cpu-operator", lambda x: (x.relu() + 1).log(), "Log", CHIPS, nn.Conv2d(8, 8, 5, 5)),
    ("cpu-operator", lambda x: (x > 0).float(), "Greater", CHIPS, lambda x: x[:, 1:3, ::2]),
    ("cpu-operator", lambda x: x[:, [3, 1]], "GatherNd", CHIPS, nn.PixelShuffle(2)),
    (
        "cpu-resize",
        lambda x: resize(x, scale_factor=2, mode="bilinear", align_corners=True),
        "ResizeBilinear",
        CHIPS,
        lambda x: resize(x, scale_factor=2, mode="bilinear"),
    ),
    (
        "cpu-resize",
        lambda x: resize(x, size=(30, 50), mode="bilinear"),
        "ResizeBilinear",
        CHIPS,
        lambda x: resize(x, size=(47, 79), mode="bilinear", align_corners=True),
    ),
    (
        "cpu-resize",
        lambda x: resize(x, scale_factor=4, mode="bilinear"),
        "ResizeBilinear",
        SMALL,
        lambda x: resize(x, scale_factor=4),
    ),
    (
        "cpu-resize",
        lambda x: resize(x, scale_factor=3),
        "ResizeNearestNeighbor",
        SMALL,
        lambda x: resize(x, scale_factor=2),
    ),
    (
        "cpu-transposed-convolution",
        nn.ConvTranspose2d(8, 8, 4, 4),
        "TransposeConv2D",
        SMALL,
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
    ),
    (
        "cpu-depthwise-stride",
        nn.Conv2d(8, 8, 4, 4, groups=8),
        "DepthwiseConv2D",
        SMALL,
        nn.Conv2d(8, 8, 4, 4),
    ),
]


@pytest.mark.parametrize(("rule", "bad", "_", "chips", "good"), CASES)
def test_a_rule_fires_on_its_case_and_chips_alone(
    rule: str, bad: Function, _: str, chips: tuple[str, ...], good: Function
) -> None:
    for chip in CHIPS:
        assert findings(EthosU(chip), bad) == ({rule} if chip in chips else set())
        assert findings(EthosU(chip), good) == set()


def test_vela_leaves_them_to_the_cpu_and_takes_the_rest(tmp_path: Path) -> None:
    installed_target("ethos-u:u55-128")
    for is_bad, column in ((True, 1), (False, 4)):
        folder = tmp_path / str(is_bad)
        folder.mkdir()
        graph = settle(Branches([case[column] for case in CASES]), SPEC, folder)
        images = make_images(8, SPEC.input_shape[1:], seed=1)
        job = Conversion(graph, "int8", folder, folder / "log.txt", images)
        LiteRt().write_tflite(job, "model.tflite")
        for chip in CHIPS:
            arguments = {
                "tflite": str(folder / "model.tflite"),
                "out": str(folder / f"{chip}.tflite"),
                "accelerator": f"ethos-{chip}",
            }
            report, _ = EthosU(chip).call("compile_for_npu", arguments, log=job.log)
            rows = report["layers"]
            left = Counter(row["Original Operator"] for row in rows if row["Target"] != "NPU")
            wanted = Counter(name for c in CASES if chip in c[3] for name in c[2].split())
            if is_bad:
                names = {name for case in CASES for name in case[2].split()}
                assert Counter({name: left[name] for name in names}) == wanted, chip
            else:
                assert not left, chip


def test_vela_refuses_argmax(tmp_path: Path) -> None:
    target = installed_target("ethos-u:u55-128")
    graph = settle(Between(lambda x: x.argmax(1).float()), SPEC, tmp_path)
    (finding,) = check(graph.network, target.rules(), target.full_name)
    assert (finding.rule, finding.severity) == ("argmax", "error")
    images = make_images(8, SPEC.input_shape[1:], seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images)
    with pytest.raises(ToolchainError):
        target.convert(job)
    assert "ARGMAX" in job.log.read_text()


def test_what_has_no_int8_is_an_error_here_alone() -> None:
    pool = Between(nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    network = capture_network(pool, SPEC.input_shape)
    severities = [
        finding.severity
        for target in (LiteRt(), EthosU("u55-128"))
        for finding in check(network, target.rules(), target.full_name)
    ]
    assert severities == ["warning", "error"]


def test_every_rule_is_tried() -> None:
    own = {rule.name for chip in CHIPS for rule in rules_of(chip)}
    own -= {rule.name for rule in LiteRt().rules()}
    assert own == {"argmax", *(case[0] for case in CASES)}
