"""TensorFlow Lite Micro on the examples of its rules: what it refuses, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from edgeark.export.backends.litert.target import LiteRt
from edgeark.export.backends.tflm.boards import judge
from edgeark.export.backends.tflm.examples import EXAMPLES
from edgeark.export.backends.tflm.memory import peak_bytes, weight_bytes
from edgeark.export.backends.tflm.target import TOOLCHAIN, Tflm
from edgeark.export.graph.files import Graph
from edgeark.export.lint import Example, capture_network
from edgeark.export.targets.base import Precision
from edgeark.export.toolchains import Toolchain, call
from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Networks, Tries, try_networks

MEMORY = ("ram", "little-ram", "flash")
OPERATORS = [example for example in EXAMPLES if example.rule not in MEMORY]


def of_precision(precision: Precision) -> list[Example]:
    return [example for example in OPERATORS if example.precision == precision]


def refusals(examples: Sequence[Example], precision: Precision, folder: Path) -> list[str]:
    """What the interpreter says of LiteRT's file of each bad network; '' where it runs."""
    networks = [(example.network("bad"), SPEC) for example in examples]
    converted = try_networks(LiteRt(), networks, folder, precision=precision, runs=False)
    assert [tried.error for tried in converted if tried.error] == []
    jobs = []
    for index in range(len(examples)):
        file = {"file": str(folder / str(index) / "model.tflite")}
        jobs.append([["prepare", file, ""], ["measure", file, ""]])
    toolchain = Tries(**{f.name: getattr(TOOLCHAIN, f.name) for f in fields(Toolchain)})
    given = {"worker": str(TOOLCHAIN.worker), "jobs": jobs, "without": [], "forks": True}
    values, _ = call(toolchain, "try_each", given, log=folder / "log.txt")
    return [said.get("error", "") for said in values["tries"]]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_interpreter_refuses_bad_examples(precision: Precision, tmp_path: Path) -> None:
    installed_target("tflm")
    examples = of_precision(precision)
    seen = refusals(examples, precision, tmp_path)
    taken = [e.place for e, error in zip(examples, seen, strict=True) if not error]
    assert taken == []
    words = ("Didn't find op", "1D-5D", "INT8 != FLOAT32", "failed to invoke", "died")
    assert [error for error in seen if not any(word in error for word in words)] == []


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_interpreter_is_right_on_good_examples(precision: Precision, tmp_path: Path) -> None:
    target = installed_target("tflm")
    networks = [example.network("good") for example in of_precision(precision)]
    prove(target, settle(Networks(networks), SPEC, tmp_path), precision, tmp_path)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.rule == "ram"])
def test_a_network_that_is_refused_for_its_memory_does_not_fit(
    example: Example, tmp_path: Path
) -> None:
    """The figures of the rules are never above those of the file."""
    target = installed_target("tflm:rp2040")
    assert isinstance(target, Tflm)
    for which, fits in (("bad", False), ("good", True)):
        network = capture_network(example.network(which), SPEC.input_shape)
        (out := tmp_path / which).mkdir()
        graph = Graph(example.network(which), SPEC, out)
        artifact, _ = prove(target, graph, "int8", out)
        settings = artifact.settings
        assert peak_bytes(network)[0] <= settings["head_bytes"]
        assert weight_bytes(network) <= settings["weights_bytes"]
        assert all(not problem.fatal for problem in artifact.diagnostics) == fits
        assert judge(target.board_limits, settings["arena_bytes"], settings["flash_bytes"]) == (
            artifact.diagnostics
        )
