"""coremltools on the examples of Core ML's rules: it refuses the bad ones, or drops a filter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.backends.coreml.examples import EXAMPLES
from edgeark.export.backends.coreml.target import CoreMl
from support.settled import SPEC
from support.target_base import installed_target
from support.tries import Try, try_networks
from torch.nn.functional import interpolate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tries")


@pytest.fixture(scope="module")
def tries(folder: Path) -> list[tuple[Try, Try]]:
    target = installed_target("coreml")
    assert isinstance(target, CoreMl)
    networks = [(e.network(which), SPEC) for e in EXAMPLES for which in ("bad", "good")]
    tried = try_networks(target, networks, folder, runs=False)
    return list(zip(tried[::2], tried[1::2], strict=True))


def test_coremltools_refuses_bad_examples_alone(tries: list[tuple[Try, Try]]) -> None:
    for example, (refused, taken) in zip(EXAMPLES, tries, strict=True):
        assert taken.error == "", example
        assert (refused.error == "") == (example.rule == "antialias"), (example, refused.error)


def test_antialias_is_dropped(folder: Path, tries: list[tuple[Try, Try]]) -> None:
    """The very same program is written without it, and PyTorch's answers differ."""
    (index,) = (index for index, example in enumerate(EXAMPLES) if example.rule == "antialias")
    made = [folder / str(i) / "model.mlpackage" for i in (2 * index, 2 * index + 1)]
    programs = [path / "Data/com.apple.CoreML/model.mlmodel" for path in made]
    assert programs[0].read_bytes() == programs[1].read_bytes()
    x = torch.rand(1, 8, 24, 40)
    plain, filtered = (
        interpolate(x, (12, 20), mode="bilinear", antialias=antialias)
        for antialias in (False, True)
    )
    assert not torch.allclose(plain, filtered, atol=0.1)
