"""tpu-mlir on the examples of the rules: what it refuses, gets wrong, or leaves to the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeark.export.backends.sophgo.examples import EXAMPLES
from edgeark.export.backends.sophgo.report import parse_placement
from edgeark.export.lint import Example, capture_network, check
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Precision
from edgeark.export.targets.isolated import WorkerTarget
from support.settled import SPEC
from support.target_base import installed_target
from support.tries import Try, try_networks

RIGHT_DB: dict[Precision, float] = {"float16": 25, "int8": 12}


def examples_of(chip: str, precision: Precision) -> list[Example]:
    """int8 has those of its own; a chip the BM168x share has all that are not another's."""
    return [
        example
        for example in EXAMPLES
        if (not example.chips or chip in example.chips)
        and (example.precision == "int8") == (precision == "int8")
    ]


def tried(
    name: str, precision: Precision, folder: Path
) -> tuple[list[Example], list[Try], list[Try]]:
    """Those of all chips fail in the front end, which is one: the BM168x, slow, run their own."""
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    examples = examples_of(name.partition(":")[2], precision)
    if name.startswith("sophgo"):
        examples = [example for example in examples if example.chips]
    networks = [(e.network(w), SPEC) for e in examples for w in ("bad", "good")]
    tries = try_networks(target, networks, folder, precision=precision)
    return examples, tries[::2], tries[1::2]


@pytest.mark.parametrize(
    ("name", "precision"),
    [("cvitek:cv181x", "float16"), ("cvitek:cv181x", "int8"), ("sophgo:bm1688", "float16")],
)
def test_bad_examples_fail_and_good_ones_do_not(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    examples, bad, good = tried(name, precision, tmp_path)
    assert examples
    enough = RIGHT_DB[precision]
    for example, each in zip(examples, bad, strict=True):
        if example.cpu_ops:
            placed = parse_placement(each.values["final"], str)
            assert placed.cpu_ops[0].partition(" ")[0] in example.cpu_ops, example.place
            assert each.sqnr_db > enough, example.place
        else:
            assert each.error or each.sqnr_db < enough, (example.place, each.sqnr_db)
    for example, each in zip(examples, good, strict=True):
        assert not each.error and each.sqnr_db > enough, (example.place, each)
        assert parse_placement(each.values["final"], str).cpu_ops == (), example.place


@pytest.mark.parametrize("name", ["cvitek:cv181x", "cvitek:cv184x", "sophgo:bm1688"])
def test_rules_fire_on_their_examples_alone(name: str) -> None:
    target = find_target(name)
    for example in examples_of(name.partition(":")[2], "float16"):
        rules = [rule for rule in target.rules() if rule.holds_in("float16")]
        found = {
            which: {
                finding.rule
                for finding in check(
                    capture_network(example.network(which), SPEC.input_shape), rules, name
                )
            }
            for which in ("bad", "good")
        }
        assert example.rule in found["bad"] and found["good"] == set(), example.place
