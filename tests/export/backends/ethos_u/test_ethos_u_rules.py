"""Vela on the examples of Ethos-U's rules: what it leaves to the CPU, chip by chip, or refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from edgeark.export.backends.ethos_u.examples import EXAMPLES
from edgeark.export.backends.ethos_u.target import EthosU
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, make_images, settle
from support.target_base import installed_target
from support.tries import Networks

CHIPS = ("u55-128", "u65-256", "u85-256")
SLOW = [example for example in EXAMPLES if example.cpu_ops]
SPOILED = [example for example in EXAMPLES if example.rule == "int8-exponential"]
REFUSED = [e for e in EXAMPLES if not e.cpu_ops and e not in SPOILED]


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


@pytest.mark.parametrize("which", ["bad", "good"])
def test_int8_spoils_bad_examples_alone(which: str, tmp_path: Path) -> None:
    target = installed_target("ethos-u:u55-128")
    networks = Networks([example.network(which) for example in SPOILED])
    graph = settle(networks, SPEC, tmp_path)
    calibration = make_images(16, SPEC.input_shape[1:], seed=1)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log.txt", calibration)
    images = make_images(4, SPEC.input_shape[1:], seed=0)
    (result,) = target.run_sources(target.convert(job), images).values()
    pairs = zip(graph.reference(images, batch=1), result.outputs, strict=True)
    decibels = [compare([wanted], [got]).sqnr_db for wanted, got in pairs]
    assert [db > 20 for db in decibels] == [which == "good"] * len(SPOILED), decibels
