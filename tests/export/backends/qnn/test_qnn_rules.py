"""The HTP on the examples of its rules: what it refuses or computes wrongly, and what it can."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from edgeark.export.backends.qnn.examples import EXAMPLES
from edgeark.export.graph.files import Graph
from edgeark.export.lint import Example
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion, Precision
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, make_images, prove, settle
from support.target_base import installed_target
from support.tries import Networks

BATCH = 12  # the compiler fails with 1002 of what is left, where there is more
SHAPE = SPEC.input_shape[1:]
WRONG = ("nearest-rounding", "int8-cumulative-sum", "int8-slopes")
NOT_FINALIZED = [e for e in EXAMPLES if "ConvTranspose3d" in str(e.bad)]
REFUSED = [e for e in EXAMPLES if e.rule not in WRONG and e not in NOT_FINALIZED]
PRECISIONS: dict[str, Precision] = {"float32": "float16", "int8": "int8"}


def of_precision(examples: Sequence[Example], precision: str) -> list[Example]:
    return [example for example in examples if example.precision == precision]


def job_of(examples: Sequence[Example], precision: str, folder: Path) -> Conversion:
    """All in one network, an output each."""
    network = Networks([example.network("bad") for example in examples]).eval()
    graph, kind = Graph(network, SPEC, folder), PRECISIONS[precision]
    calibration = make_images(16, SHAPE, seed=1) if kind == "int8" else None
    return Conversion(graph, kind, folder, folder / "log.txt", calibration)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_htp_refuses_bad_examples(precision: str, tmp_path: Path) -> None:
    """The provider lists every node that it leaves; none of them may go to the CPU."""
    target = installed_target("qnn:v73")
    examples = of_precision(REFUSED, precision)
    for start in range(0, len(examples), BATCH):
        batch, out = examples[start : start + BATCH], tmp_path / str(start)
        out.mkdir()
        with pytest.raises(ToolchainError, match="not on the HTP"):
            target.convert(job_of(batch, precision, out))
        said = (out / "log.txt").read_text(errors="replace")
        refused = {int(n) for n in re.findall(r"^not on the HTP: parts\.(\d+)[./]", said, re.M)}
        assert [e.place for i, e in enumerate(batch) if i not in refused] == []


@pytest.mark.parametrize("example", NOT_FINALIZED)
def test_the_compiler_fails(example: Example, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="Failed to finalize"):
        installed_target("qnn:v73").convert(job_of([example], example.precision, tmp_path))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_htp_is_wrong_on_bad_examples(precision: str, tmp_path: Path) -> None:
    target = installed_target("qnn:v73")
    examples = [e for e in of_precision(EXAMPLES, precision) if e.rule in WRONG]
    job = job_of(examples, precision, tmp_path)
    images = make_images(4, SHAPE, seed=0)
    result = target.run(target.convert(job), images, job.log)
    assert result is not None
    pairs = zip(job.graph.reference(images), result.outputs, strict=True)
    found = [compare([wanted], [answer]).sqnr_db for wanted, answer in pairs]
    most = {"float32": 40, "int8": 16}[precision]  # what is right has 53 or 25 and more
    assert [(e.place, db) for e, db in zip(examples, found, strict=True) if db > most] == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_htp_is_right_on_good_examples(precision: str, tmp_path: Path) -> None:
    target = installed_target("qnn:v73")
    networks = [example.network("good") for example in of_precision(EXAMPLES, precision)]
    kind = PRECISIONS[precision]
    prove(target, settle(Networks(networks), SPEC, tmp_path), kind, tmp_path)
