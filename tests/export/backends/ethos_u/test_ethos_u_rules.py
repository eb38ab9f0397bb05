"""Vela on the examples of Ethos-U's rules: what it leaves to the CPU, chip by chip, or refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from edgeark.export.backends.ethos_u.examples import EXAMPLES
from edgeark.export.backends.ethos_u.target import EthosU
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.graph.files import Graph
from edgeark.export.lint import capture_network, check
from edgeark.export.targets.base import Conversion
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, make_images, settle
from support.target_base import installed_target
from support.tries import Between, Networks
from torch import nn

CHIPS = ("u55-128", "u65-256", "u85-256")
SLOW = [example for example in EXAMPLES if example.cpu_ops]
REFUSED = [example for example in EXAMPLES if not example.cpu_ops]


@pytest.mark.parametrize("which", ["bad", "good"])
def test_vela_leaves_bad_examples_to_the_cpu_and_takes_good_ones(
    which: str, tmp_path: Path
) -> None:
    installed_target("ethos-u:u55-128")
    networks = [example.network(which) for example in SLOW]
    graph = settle(Networks(networks), SPEC, tmp_path)
    images = make_images(8, SPEC.input_shape[1:], seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images)
    LiteRt().write_tflite(job, "model.tflite")
    for chip in CHIPS:
        arguments = {
            "tflite": str(tmp_path / "model.tflite"),
            "out": str(tmp_path / f"{chip}.tflite"),
            "accelerator": f"ethos-{chip}",
        }
        report, _ = EthosU(chip).call("compile_for_npu", arguments, log=job.log)
        left = Counter(
            row["Original Operator"] for row in report["layers"] if row["Target"] != "NPU"
        )
        if which == "good":
            assert not left, chip
            continue
        here = [e for e in SLOW if not e.chips or chip in e.chips]
        wanted = Counter(name for example in here for name in example.cpu_ops)
        names = {name for example in SLOW for name in example.cpu_ops}
        assert Counter({name: left[name] for name in names}) == wanted, chip


@pytest.mark.parametrize("example", REFUSED)
def test_vela_refuses_errors(example, tmp_path: Path) -> None:
    target = installed_target("ethos-u:u55-128")
    graph = Graph(example.network("bad"), SPEC, tmp_path)
    images = make_images(8, SPEC.input_shape[1:], seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", images)
    with pytest.raises(ToolchainError):
        target.convert(job)
    assert example.rule.upper() in job.log.read_text()


def test_what_has_no_int8_is_an_error_here_alone() -> None:
    pool = Between(nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    network = capture_network(pool, SPEC.input_shape)
    severities = [
        finding.severity
        for target in (LiteRt(), EthosU("u55-128"))
        for finding in check(network, target.rules(), target.full_name)
    ]
    assert severities == ["warning", "error"]
