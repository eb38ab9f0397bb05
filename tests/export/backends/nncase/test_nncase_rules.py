"""nncase on the examples of its rules: it fails, computes wrongly, or leaves work to the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from edgeark.export.backends.nncase.examples import EXAMPLES
from edgeark.export.backends.nncase.rules import rules
from edgeark.export.graph.files import GraphError
from edgeark.export.lint import Example
from edgeark.export.lint.examples import Which
from edgeark.export.toolchains import ToolchainError
from support.nncase_cases import SPEC, convert, make_images, set_batch_norm, sqnr_db
from support.target_base import installed_target

ERRORS = {rule.name for rule in rules if rule.severity == "error"}


@pytest.fixture(scope="module", autouse=True)
def toolchain() -> None:
    installed_target("k210-nncase")


def quality(example: Example, which: Which, folder: Path) -> float:
    """SQNR in dB; -200 of a network that nncase does not compile."""
    spec = replace(SPEC, input_size=example.input_shape(which)[2:])
    model = example.network(which)
    set_batch_norm(model, make_images(16, 3, spec))
    folder.mkdir()
    try:
        artifact, _, graph = convert(model, folder, spec)
    except (GraphError, ToolchainError):
        return -200.0
    return sqnr_db(artifact, graph)


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.rule in ERRORS], ids=lambda example: example.rule
)
def test_nncase_fails_on_errors_or_is_wrong(example: Example, tmp_path: Path) -> None:
    assert quality(example, "bad", tmp_path / "bad") < 15
    assert quality(example, "good", tmp_path / "good") > 20


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.cpu_ops], ids=lambda example: example.rule
)
def test_a_warning_is_work_of_the_cpu(example: Example, tmp_path: Path) -> None:
    for which in ("bad", "good"):
        folder = tmp_path / which
        folder.mkdir()
        spec = replace(SPEC, input_size=example.input_shape(which)[2:])
        _, placement, _ = convert(example.network(which), folder, spec)
        for name in example.cpu_ops:
            assert any(name in op for op in placement.cpu_ops) is (which == "bad"), which
